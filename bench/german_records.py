"""Generated records of people in Germany, and garbled questions about them. Names, towns and streets are made up from
parts; how often they come follows Zipf's law."""

import csv
import json
import random

FEMALE = ("Anna Maria Sabine Petra Monika Julia Lea Laura Sophie Katharina Ursula Renate Birgit Claudia Stefanie Nicole "
          "Christine Heike Silke Anja Martina Gabriele Ingrid Erika Helga Lena Emma Mia Hannah Clara Franziska Johanna "
          "Theresa Barbara Angelika Andrea Elisabeth Susanne Karin Brigitte Jana Vanessa Jasmin Ayşe Fatma Elif Olga "
          "Svetlana Agnieszka Jürgenhild").split()
MALE = ("Peter Michael Thomas Andreas Wolfgang Klaus Jürgen Günter Stefan Christian Uwe Werner Horst Frank Dieter Manfred "
        "Gerhard Hans Bernd Thorsten Mathias Helmut Walter Heinz Martin Jörg Rolf Jens Sven Alexander Lukas Leon Felix "
        "Jonas Paul Maximilian Tobias Florian Sebastian Philipp Björn Sören Mehmet Mustafa Ali Piotr Igor Dmitri Luca "
        "Matthias").split()
SURNAMES = ("Müller Schmidt Schneider Fischer Weber Meyer Wagner Becker Schulz Hoffmann Schäfer Koch Bauer Richter Klein "
            "Wolf Schröder Neumann Schwarz Zimmermann Braun Krüger Hofmann Hartmann Lange Schmitt Werner Krause Meier "
            "Lehmann Schmid Schulze Maier Köhler Herrmann König Walter Mayer Huber Kaiser Fuchs Peters Lang Scholz Möller "
            "Weiß Jung Hahn Schubert Vogel Friedrich Keller Günther Frank Berger Winkler Roth Beck Lorenz Baumann Franke "
            "Albrecht Schuster Simon Ludwig Böhm Winter Kraus Martin Schumacher Krämer Vogt Stein Jäger Otto Sommer Groß "
            "Seidel Heinrich Brandt Haas Schreiber Graf Dietrich Ziegler Kuhn Kühn Pohl Engel Horn Busch Bergmann "
            "Yılmaz Kaya Demir Öztürk Kowalski Nowak Ivanov Petrov Nguyen").split()
FRONT = "Ober Unter Neu Alt Kirch Wald Berg Stein Linden Rosen Mühl Schön Groß Klein Hof Feld Bach Brunn Eich Buch".split()
BACK = "mann meier bauer müller hofer berger bacher stein feld wald huber wirth schmidt kamp horst dorfer".split()
FIRST = ("Ba Be Bor Da Dre El Fa Ge Gor Ha He Ja Ka Ko Kra La Le Lu Ma Me Mo Na Ne Or Pa Pe Ra Re Ro Sa Se So Ta Te To "
         "Ul Va Wa We Zo").split()
SECOND = "ba be da di go ki la le li lo ma me mi na ni no ra re ri ro sa se ta te ti to va we ze zu".split()
THIRD = "n nn ck l ll ski witz er ing t sch rt".split()
TOWN = "dorf stadt burg hausen heim ingen feld bach berg kirchen au rode".split()
ROAD = "straße weg gasse allee platz ring".split()


class People:
    """Draws people, all of them from one seed."""

    def __init__(self, seed):
        self.draw = random.Random(seed)
        shapes = random.Random(1)
        made = [a + b for a in FRONT for b in BACK] + [a + b + c for a in FIRST for b in SECOND for c in THIRD]
        shapes.shuffle(made)
        self.surnames = SURNAMES + made
        towns = sorted({a + b + c for a in FIRST for b in SECOND for c in TOWN})
        shapes.shuffle(towns)
        self.places = [(f"{shapes.randrange(1000, 99999):05}", shapes.choice(towns[:6000])) for _ in range(8000)]
        roads = sorted({a + b + c for a in FIRST + FRONT for b in SECOND for c in ROAD})
        shapes.shuffle(roads)
        self.roads = roads[:3000]

    def zipf(self, items, power=0.5):
        return items[int(len(items) * self.draw.random() ** (1 / (1 - power)))]

    def first(self):
        name = self.zipf(self.draw.choice([FEMALE, MALE]), 0.4)
        return name if self.draw.random() > 0.03 else f"{name}-{self.zipf(FEMALE + MALE, 0.4)}"

    def last(self):
        name = self.zipf(self.surnames)
        return name if self.draw.random() > 0.03 else f"{name}-{self.zipf(self.surnames)}"

    def born(self):
        return f"{self.draw.randrange(1930, 2008)}-{self.draw.randrange(1, 13):02}-{self.draw.randrange(1, 29):02}"

    def home(self):
        postcode, town = self.zipf(self.places, 0.3)
        return {"postcode": postcode, "city": town, "street": f"{self.draw.choice(self.roads)} {self.draw.randrange(1, 150)}"}

    def person(self):
        return {"first_name": self.first(), "last_name": self.last(), "date_of_birth": self.born(), **self.home()}

    def people(self, count):
        """Some live with their family, some are twins."""
        before = self.person()
        for number in range(count):
            person, chance = self.person(), self.draw.random()
            if chance < 0.15:
                person = {**before, "first_name": self.first(), "date_of_birth": self.born()}
            elif chance < 0.155:
                person = {**before, "first_name": self.first()}
            before = person
            yield {"id": f"r{number}", **person}

    def typo(self, text):
        at = self.draw.randrange(len(text))
        letter = self.draw.choice("0123456789" if text[at].isdigit() else "abcdefghijklmnopqrstuvwxyz")
        kind = self.draw.randrange(4)
        if kind == 0:
            return text[:at] + letter + text[at + 1:]
        if kind == 1 and len(text) > 2:
            return text[:at] + text[at + 1:]
        if kind == 2:
            return text[:at] + letter + text[at:]
        return text[:at] + text[at + 1:at + 2] + text[at] + text[at + 2:]

    def garbled(self, field, value):
        chance = self.draw.random()
        if field in ("first_name", "last_name", "street") and chance < 0.5:
            spelled = value
            for umlaut, letters in (("ä", "ae"), ("ö", "oe"), ("ü", "ue"), ("ß", "ss")):
                spelled = spelled.replace(umlaut, letters)
            if "-" in value:
                return self.draw.choice([value.replace("-", " "), *value.split("-")])
            if spelled != value:
                return spelled
        if field == "date_of_birth":
            year, month, day = value.split("-")
            if chance < 0.3:
                return f"{month}.{day}.{year}"
            if chance < 0.6:
                return f"{int(day)}. {int(month)}. {year}"
            return self.typo(value)
        return self.typo(value)

    def question(self, number, person):
        """What somebody says of a person; `None` is a person nobody knows."""
        meant = person["id"] if person else None
        person = dict(person or self.person())
        if self.draw.random() < 0.05:
            person.update(self.home())
        said = {"first_name": 0.95, "last_name": 0.98, "date_of_birth": 0.85, "postcode": 0.7, "city": 0.5, "street": 0.6}
        kept = {field: person[field] for field, often in said.items() if self.draw.random() < often}
        if self.draw.random() < 0.02 and {"first_name", "last_name"} <= kept.keys():
            kept["first_name"], kept["last_name"] = kept["last_name"], kept["first_name"]
        fields = {
            field: [self.garbled(field, value) if self.draw.random() < 0.15 else value] for field, value in kept.items()
        }
        return {"id": f"q{number}", "fields": fields, "record": meant}


def write(folder, records, questions, seed=7):
    """`records.csv`, and `fit.jsonl` and `test.jsonl` with so many questions each, a fifth about nobody."""
    people = People(seed)
    known = list(people.people(records))
    with (folder / "records.csv").open("w", newline="") as out:
        table = csv.DictWriter(out, fieldnames=list(known[0]))
        table.writeheader()
        table.writerows(known)
    for name in ("fit", "test"):
        with (folder / f"{name}.jsonl").open("w") as out:
            for number in range(questions):
                person = people.draw.choice(known) if people.draw.random() < 0.8 else None
                out.write(json.dumps(people.question(number, person), ensure_ascii=False) + "\n")
