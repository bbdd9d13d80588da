"""The paper's findings F1 to F7, each tested on the family that ships: what is asked, what came out, and whether it shows."""
