"""The dataset of the demo: text-to-SQL rows that this project wrote itself."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

#: Each schema with (question, query) pairs; every query runs on its schema.
SCHEMAS: tuple[tuple[str, tuple[tuple[str, str], ...]], ...] = (
    (
        "CREATE TABLE rivers (name TEXT, country TEXT, length_km INT, mouth TEXT)",
        (
            ("How long is the Loire?", "SELECT length_km FROM rivers WHERE name = 'Loire'"),
            ("Which rivers flow through Peru?", "SELECT name FROM rivers WHERE country = 'Peru'"),
            ("What is the longest river?", "SELECT name FROM rivers ORDER BY length_km DESC LIMIT 1"),
            ("How many rivers end in the Black Sea?",
             "SELECT COUNT(*) FROM rivers WHERE mouth = 'Black Sea'"),
            ("Average river length per country",
             "SELECT country, AVG(length_km) FROM rivers GROUP BY country"),
            ("List the rivers over 2000 km.", "SELECT name FROM rivers WHERE length_km > 2000"),
        ),
    ),
    (
        "CREATE TABLE loans (book TEXT, member TEXT, taken DATE, returned DATE)",
        (
            ("Which books are still out?", "SELECT book FROM loans WHERE returned IS NULL"),
            ("What has Ines Duarte borrowed?", "SELECT book FROM loans WHERE member = 'Ines Duarte'"),
            ("How many loans were made in March 2024?",
             "SELECT COUNT(*) FROM loans WHERE taken BETWEEN '2024-03-01' AND '2024-03-31'"),
            ("Who borrowed Middlemarch last?",
             "SELECT member FROM loans WHERE book = 'Middlemarch' ORDER BY taken DESC LIMIT 1"),
            ("Members with more than five loans",
             "SELECT member FROM loans GROUP BY member HAVING COUNT(*) > 5"),
            ("When did Dracula come back?", "SELECT returned FROM loans WHERE book = 'Dracula'"),
        ),
    ),
    (
        "CREATE TABLE flights (code TEXT, origin TEXT, destination TEXT, seats INT, departs TIME)",
        (
            ("Which flights leave from Oslo?", "SELECT code FROM flights WHERE origin = 'Oslo'"),
            ("When does KQ41 take off?", "SELECT departs FROM flights WHERE code = 'KQ41'"),
            ("How many seats go to Lima each day?",
             "SELECT SUM(seats) FROM flights WHERE destination = 'Lima'"),
            ("Show the first departure.", "SELECT code FROM flights ORDER BY departs LIMIT 1"),
            ("Which destinations can I reach from Cork?",
             "SELECT DISTINCT destination FROM flights WHERE origin = 'Cork'"),
            ("Flights with fewer than 80 seats", "SELECT code FROM flights WHERE seats < 80"),
        ),
    ),
    (
        "CREATE TABLE players (name TEXT, team TEXT, goals INT, age INT)",
        (
            ("Who scored the most goals?", "SELECT name FROM players ORDER BY goals DESC LIMIT 1"),
            ("How old is Mara Voss?", "SELECT age FROM players WHERE name = 'Mara Voss'"),
            ("Total goals of each team", "SELECT team, SUM(goals) FROM players GROUP BY team"),
            ("Name the players under 20.", "SELECT name FROM players WHERE age < 20"),
            ("How many players do the Herons have?", "SELECT COUNT(*) FROM players WHERE team = 'Herons'"),
            ("Which players never scored?", "SELECT name FROM players WHERE goals = 0"),
        ),
    ),
    (
        "CREATE TABLE invoices (number INT, client TEXT, amount REAL, paid INT)",
        (
            ("What does Brightwell owe us?",
             "SELECT SUM(amount) FROM invoices WHERE client = 'Brightwell' AND paid = 0"),
            ("How much was invoice 1187?", "SELECT amount FROM invoices WHERE number = 1187"),
            ("Which clients have paid everything?",
             "SELECT client FROM invoices GROUP BY client HAVING MIN(paid) = 1"),
            ("Largest unpaid invoice",
             "SELECT number FROM invoices WHERE paid = 0 ORDER BY amount DESC LIMIT 1"),
            ("How many invoices are over 500 euros?", "SELECT COUNT(*) FROM invoices WHERE amount > 500"),
            ("Average amount we bill Solano Ltd",
             "SELECT AVG(amount) FROM invoices WHERE client = 'Solano Ltd'"),
        ),
    ),
    (
        "CREATE TABLE patients (id INT, name TEXT, ward TEXT, admitted DATE)",
        (
            ("Who is on ward C?", "SELECT name FROM patients WHERE ward = 'C'"),
            ("How many patients does each ward hold?", "SELECT ward, COUNT(*) FROM patients GROUP BY ward"),
            ("When was patient 52 admitted?", "SELECT admitted FROM patients WHERE id = 52"),
            ("Who has been here longest?", "SELECT name FROM patients ORDER BY admitted LIMIT 1"),
            ("Admissions since New Year 2025",
             "SELECT COUNT(*) FROM patients WHERE admitted >= '2025-01-01'"),
            ("Where is Tomas Brandt lying?", "SELECT ward FROM patients WHERE name = 'Tomas Brandt'"),
        ),
    ),
    (
        "CREATE TABLE recipes (dish TEXT, cuisine TEXT, minutes INT, vegan INT)",
        (
            ("What can I cook in half an hour?", "SELECT dish FROM recipes WHERE minutes <= 30"),
            ("Vegan dishes from Ethiopia",
             "SELECT dish FROM recipes WHERE vegan = 1 AND cuisine = 'Ethiopian'"),
            ("How long does ratatouille take?", "SELECT minutes FROM recipes WHERE dish = 'ratatouille'"),
            ("Which cuisine has the most recipes?",
             "SELECT cuisine FROM recipes GROUP BY cuisine ORDER BY COUNT(*) DESC LIMIT 1"),
            ("Is the moussaka vegan?", "SELECT vegan FROM recipes WHERE dish = 'moussaka'"),
            ("Quickest Thai dish",
             "SELECT dish FROM recipes WHERE cuisine = 'Thai' ORDER BY minutes LIMIT 1"),
        ),
    ),
    (
        "CREATE TABLE stations (name TEXT, line TEXT, opened INT, lifts INT)",
        (
            ("Which stations have no lift?", "SELECT name FROM stations WHERE lifts = 0"),
            ("When did Harbour Gate open?", "SELECT opened FROM stations WHERE name = 'Harbour Gate'"),
            ("Oldest station on the green line",
             "SELECT name FROM stations WHERE line = 'green' ORDER BY opened LIMIT 1"),
            ("How many stations opened after 1990?", "SELECT COUNT(*) FROM stations WHERE opened > 1990"),
            ("What line is Mill Road on?", "SELECT line FROM stations WHERE name = 'Mill Road'"),
            ("Count the lifts of every line.", "SELECT line, SUM(lifts) FROM stations GROUP BY line"),
        ),
    ),
    (
        "CREATE TABLE staff (name TEXT, office TEXT, salary INT, started DATE)",
        (
            ("Who earns more than 90000?", "SELECT name FROM staff WHERE salary > 90000"),
            ("Highest salary in the Porto office", "SELECT MAX(salary) FROM staff WHERE office = 'Porto'"),
            ("Who joined in 2021?",
             "SELECT name FROM staff WHERE started BETWEEN '2021-01-01' AND '2021-12-31'"),
            ("How many people work in Ghent?", "SELECT COUNT(*) FROM staff WHERE office = 'Ghent'"),
            ("List the offices.", "SELECT DISTINCT office FROM staff"),
            ("Mean salary by office", "SELECT office, AVG(salary) FROM staff GROUP BY office"),
        ),
    ),
    (
        "CREATE TABLE films (title TEXT, director TEXT, year INT, rating REAL)",
        (
            ("Which films did Agnes Varda direct?", "SELECT title FROM films WHERE director = 'Agnes Varda'"),
            ("Best rated film of 1975",
             "SELECT title FROM films WHERE year = 1975 ORDER BY rating DESC LIMIT 1"),
            ("How many films are from the eighties?",
             "SELECT COUNT(*) FROM films WHERE year BETWEEN 1980 AND 1989"),
            ("Who directed Stalker?", "SELECT director FROM films WHERE title = 'Stalker'"),
            ("Directors with ten films or more",
             "SELECT director FROM films GROUP BY director HAVING COUNT(*) >= 10"),
            ("Films rated below 4", "SELECT title FROM films WHERE rating < 4"),
        ),
    ),
    (
        "CREATE TABLE parts (sku TEXT, supplier TEXT, stock INT, price REAL)",
        (
            ("Which parts are sold out?", "SELECT sku FROM parts WHERE stock = 0"),
            ("What does B-204 cost?", "SELECT price FROM parts WHERE sku = 'B-204'"),
            ("Value of the whole stock", "SELECT SUM(stock * price) FROM parts"),
            ("How many suppliers do we have?", "SELECT COUNT(DISTINCT supplier) FROM parts"),
            ("Cheapest part from Nordwerk",
             "SELECT sku FROM parts WHERE supplier = 'Nordwerk' ORDER BY price LIMIT 1"),
            ("Raise the price of B-310 to 12.5", "UPDATE parts SET price = 12.5 WHERE sku = 'B-310'"),
        ),
    ),
    (
        "CREATE TABLE weather (city TEXT, day DATE, high_c REAL, rain_mm REAL)",
        (
            ("How hot did Quito get on 2 May 2024?",
             "SELECT high_c FROM weather WHERE city = 'Quito' AND day = '2024-05-02'"),
            ("Wettest day in Bergen",
             "SELECT day FROM weather WHERE city = 'Bergen' ORDER BY rain_mm DESC LIMIT 1"),
            ("Which cities had frost?", "SELECT DISTINCT city FROM weather WHERE high_c < 0"),
            ("Total rain per city", "SELECT city, SUM(rain_mm) FROM weather GROUP BY city"),
            ("Dry days in Tunis", "SELECT COUNT(*) FROM weather WHERE city = 'Tunis' AND rain_mm = 0"),
            ("Remove the readings of 1999", "DELETE FROM weather WHERE day LIKE '1999%'"),
        ),
    ),
)  # fmt: skip


def rows() -> Iterator[dict[str, str]]:
    """Yield the rows, always the same ones in the same order."""
    for context, pairs in SCHEMAS:
        for question, query in pairs:
            yield {"question": question, "context": context, "answer": f"[SQL] {query} [/SQL]"}


def write_dataset(path: Path) -> None:
    """Write the rows to ``path`` as JSONL; raises OSError."""
    path.write_text("".join(json.dumps(row) + "\n" for row in rows()), encoding="utf-8")
