"""Who is who: persons, their names, links, portraits and corrections."""
