"""Small vocabularies for generated tasks, and names made of syllables."""

FIRST_NAMES = """
Ana Marta Otto Nina Leo Ivan Clara Hugo Emma Oscar Lena Felix Rosa Paul Mia Tom Eva Max Lucy Adam
Sara John Mary Peter Laura David Julia Simon Alice Frank Helen Martin Grace Victor Nora Bruno Ida
Karl Greta Anton Vera Louis Irene Edgar Flora Jonas Carla Henry Agnes Oliver Paula Robert Stella
George Maria Daniel Sophie Arthur Diana Walter Elsa Philip Hanna Thomas Olga Samuel Ruth Albert
Monica Jacob Linda Edwin Teresa Conrad Wanda Gilbert Amelia Ralph Bella Dennis Celia Kevin Doris
Lucas Elena Marco Fiona Pablo Gloria Diego Ingrid Boris Judith Ahmed Kira Omar Lydia Yusuf Mira
Kenji Naomi Ravi Petra Arun Renata Chen Sonia Dmitri Tamara Emil Ursula Gustav Yvonne Harald Zoe Igor
""".split()

CITIES = """
Paris London Rome Berlin Madrid Vienna Oslo Lisbon Prague Athens Dublin Cairo Tokyo Delhi Lima Quito
Bogota Boston Chicago Dallas Denver Toronto Sydney Perth Kyoto Osaka Seoul Hanoi Manila Nairobi
Lagos Accra Tunis Milan Turin Naples Venice Munich Hamburg Bremen Zurich Geneva Basel Lyon Nice Seville
Porto Ghent Bergen Turku Riga Warsaw Krakow Budapest Sofia Ankara Izmir Baku Tbilisi Havana
""".split()

CAPITALS = {
    "France": "Paris", "England": "London", "Italy": "Rome", "Germany": "Berlin",
    "Spain": "Madrid", "Austria": "Vienna", "Norway": "Oslo", "Portugal": "Lisbon",
    "Greece": "Athens", "Ireland": "Dublin", "Egypt": "Cairo", "Japan": "Tokyo",
    "Peru": "Lima", "Kenya": "Nairobi", "Poland": "Warsaw", "Hungary": "Budapest",
    "Bulgaria": "Sofia", "Cuba": "Havana", "Latvia": "Riga", "Sweden": "Stockholm",
    "Finland": "Helsinki", "Denmark": "Copenhagen", "Canada": "Ottawa", "Russia": "Moscow",
    "Turkey": "Ankara", "Belgium": "Brussels", "Chile": "Santiago", "Vietnam": "Hanoi",
    "Iceland": "Reykjavik", "Switzerland": "Bern",
}

COLORS = """red blue green yellow black white brown orange purple pink gray silver golden""".split()

ADJECTIVES = COLORS + """
small large old new heavy light round square long short wooden iron glass paper broken clean dirty
warm cold soft hard dry wet empty full strange quiet loud bright dark cheap rare famous hidden lost
ancient modern plain fancy narrow wide tall tiny smooth rough sharp blunt thick thin sweet bitter
""".split()

THINGS = """
lantern bottle box key lamp chair table clock mirror basket hammer ladder bucket candle drum flute
guitar violin piano book letter map coin ring crown sword shield helmet coat hat boot glove scarf
shirt belt bag wallet purse pencil brush bell rope chain anchor boat ship wagon wheel engine tool
knife spoon fork plate bowl cup pot kettle oven stove bed pillow blanket carpet curtain door window
gate fence bridge tower statue fountain bench tent flag kite ball doll puzzle camera radio telephone
computer printer battery cable switch button needle thread cloth pearl stone brick tile pipe pump
barrel crate trunk drawer shelf cabinet vase jar tray fan umbrella whistle trumpet harp compass
telescope globe calendar notebook stamp ticket poster painting mask costume saddle bicycle sled
""".split()

PLACES = """
kitchen garden cellar attic garage library office bedroom hall barn station harbor market museum
school church castle hospital hotel theater factory forest cave tower workshop bakery shop park
stable chapel tunnel warehouse classroom studio basement corridor
""".split()

JOBS = """
baker teacher doctor nurse farmer pilot sailor painter singer writer lawyer judge cook driver miner
tailor carpenter plumber dentist engineer librarian gardener butcher fisherman soldier actor dancer
musician journalist photographer mechanic painter waiter clerk guard scientist
""".split()

ANIMALS = "dog cat horse bird fish rabbit parrot turtle mouse goat sheep snake".split()
FOODS = "bread cheese soup rice apples honey cake fish pasta salad eggs beans".split()

_ONSETS = """b br c ch d dr f fl g gr h j k kr l m n p pl qu r s sh sk st t th tr v w z""".split()
_VOWELS = "a e i o u a e i o ai ea ou".split()
_CODAS = ["", "", "", "l", "n", "r", "s", "m", "nd", "rt", "x", "k"]


def pseudo_word(rng, syllables=2):
    """A word that no dictionary has, most likely."""
    return "".join(rng.choice(_ONSETS) + rng.choice(_VOWELS) + (rng.choice(_CODAS))
                   for _ in range(syllables))


def first_name(rng):
    """Mostly a known name, sometimes an invented one."""
    if rng.random() < 0.6:
        return rng.choice(FIRST_NAMES)
    return pseudo_word(rng, rng.choice((1, 2, 2))).capitalize()


def full_name(rng):
    """A first name and an invented surname."""
    return f"{first_name(rng)} {pseudo_word(rng).capitalize()}"


def city(rng):
    """Mostly a known city, sometimes an invented one."""
    return rng.choice(CITIES) if rng.random() < 0.7 else pseudo_word(rng).capitalize()


def digits(rng, low=3, high=6):
    """A number of some digits, not beginning with 0."""
    size = rng.randint(low, high)
    return str(rng.randint(10 ** (size - 1), 10**size - 1))


def casual(rng, question):
    """Now and then without a capital and without the mark at the end."""
    if rng.random() < 0.12:
        question = question[:1].lower() + question[1:]
        if rng.random() < 0.7:
            question = question.rstrip("?.!")
    return question


def article(word):
    """The word with "a" or "an"."""
    return ("an " if word[0] in "aeiou" else "a ") + word
