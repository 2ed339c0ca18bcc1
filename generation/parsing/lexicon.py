"""Words of referring expressions by their role.

The lists fit the language of RefCOCO, RefCOCO+, RefCOCOg and ReferItGame: short, telegraphic, often misspelt. A
part-of-speech tagger trained on news errs there: "left" is no verb, and "glass" no adjective.
"""

from __future__ import annotations

from generation.parsing.english import NUMBER_WORDS, ORDINALS


def _split_words(text: str) -> frozenset[str]:
    return frozenset(text.split())


COLORS = _split_words(
    "red orange yellow green blue purple pink brown black white gray grey tan beige teal maroon gold golden silver "
    "navy turquoise violet magenta cyan cream khaki burgundy lavender aqua crimson ivory peach reddish bluish greenish "
    "yellowish pinkish brownish whitish blackish colorful multicolored multicolor dark light bright blond blonde pale "
    "darker darkest lighter lightest brighter"
)
SHADES = _split_words("dark light bright pale deep darker darkest lighter lightest brighter")
"""Color words that qualify another one ("dark blue")."""

PATTERNS = _split_words(
    "striped stripes stripe plaid checkered checked polka dotted dots dot spotted floral flowered flowery patterned "
    "camo camouflage swirly zigzag argyle paisley printed tie-dye speckled"
)
MATERIALS = _split_words(
    "wooden wood metal metallic plastic leather denim wicker glassy steel stainless ceramic brick stone fur furry "
    "fuzzy velvet woolen knit paper cardboard rubber marble bronze cotton straw concrete wire"
)
SIZES = _split_words(
    "big bigger biggest large larger largest small smaller smallest little tiny huge giant tall taller tallest short "
    "shorter shortest long longer longest thin skinny wide fat chubby enormous narrow thick medium lil"
)
SIZE_FORMS = {
    "bigger": "big", "biggest": "big", "large": "big", "larger": "big", "largest": "big", "huge": "big",
    "giant": "big", "enormous": "big", "smaller": "small", "smallest": "small", "little": "small", "tiny": "small",
    "lil": "small", "taller": "tall", "tallest": "tall", "shorter": "short", "shortest": "short", "longer": "long",
    "longest": "long",
}  # fmt: skip
"""Absolute size for each relative one; an image of one object shows no comparison."""

COUNTS = {**{NUMBER_WORDS[count]: count for count in range(2, 7)}, "both": 2, "2": 2, "3": 3, "4": 4, "5": 5}
ORDINAL_WORDS = frozenset({"last"}.union(*ORDINALS.values()))

LOCATION_WORDS = _split_words(
    "left right top bottom middle center front back rear upper lower leftmost rightmost topmost bottommost uppermost "
    "lowermost frontmost foreground background forefront corner side edge row end distance closest nearest closer "
    "nearer furthest farthest further farther far foremost near anywhere central up down higher lowest highest"
)
"""Words for a place in the image."""

PEOPLE = _split_words(
    "man woman person guy girl boy lady kid child dude gentleman gal male female adult baby toddler infant teen "
    "teenager people men women player batter catcher umpire pitcher skier skater surfer snowboarder skateboarder rider "
    "driver chef bride groom cop policeman officer police soldier referee coach hitter fan mom dad mother father son "
    "daughter brother sister biker worker waiter waitress cook fireman passenger runner goalie spectator couple crowd "
    "group gamer dancer cyclist baker cowboy farmer student teacher customer doctor nurse singer guitarist "
    "photographer grandma grandpa friend someone somebody ump defender keeper goalkeeper receiver hiker climber boxer "
    "wrestler shopper cashier bartender reporter ranger tourist pilot king queen prince princess bridesmaid teammate "
    "opponent stranger guest sailor individual chick bicyclist motorcyclist bystander pedestrian jockey vendor senator "
    "mama papa human fella fellow bro redhead blondie kiddo youngster fielder golfer swimmer drummer clown santa elder"
)
ANIMALS = _split_words(
    "elephant zebra giraffe horse cow sheep dog cat bird bear goat lamb duck calf puppy kitten kitty bull pony animal "
    "goose swan pigeon parrot owl monkey tiger lion deer pig chicken fish donkey ox seagull eagle foal colt doggy "
    "turkey penguin rabbit mouse camel bison buffalo ram creature teddy"
)
GARMENTS = _split_words(
    "fatigues scrubs smock shirt tshirt t-shirt tee jacket coat hat cap pants jeans shorts dress suit sweater hoodie "
    "hoody sweatshirt vest skirt tie scarf glasses sunglasses shades helmet uniform jersey apron shoe shoes boots boot "
    "sneakers sandals gloves glove mask tuxedo tux robe blouse tanktop tank-top top_ polo headband bandana beanie "
    "visor swimsuit bikini trunks wetsuit overalls clothes clothing outfit gown kimono cardigan blazer raincoat poncho "
    "leggings tights socks sock turban veil belt beret fedora goggles earring earrings headphones headset wig bib "
    "backpack pajamas pjs sweats trousers bowtie necktie sleeve sleeves watch necklace bra cape costume parka slacks "
    "capris khakis pantsuit sari leotard jumper jumpsuit ponytail plaid_"
)
BODY_PARTS = _split_words(
    "hand hands arm arms leg legs head face hair foot feet butt bum finger fingers thumb shoulder shoulders knee knees "
    "elbow back_ ear ears nose eye eyes mouth beard mustache chin neck tail trunk horns horn tusk tusks chest lap body "
    "torso ass wrist afro bun braid braids mane stomach belly boob boobs skin forehead buttocks wing wings beak hip "
    "hips waist fur paw paws backside rear_ rump snout hoof hooves toe toes shadow reflection"
)
CARRIED = _split_words(
    "umbrella bat racket racquet phone cellphone bag purse backpack suitcase frisbee ball surfboard skateboard "
    "snowboard cup glass bottle camera book controller remote kite guitar knife baby luggage flag cane stick basket "
    "briefcase handbag plate tray microphone newspaper magazine wiimote poles ski skis sword teddy"
)
RIDDEN = _split_words(
    "bike bicycle motorcycle motorbike horse skateboard snowboard surfboard skis ski scooter moped elephant wave phone "
    "cellphone cell laptop board camel donkey cycle segway wheelchair"
)
"""Objects to be drawn with the person on them: "man on bike"."""

OBJECT_NOUNS = _split_words(
    "bus car truck train boat plane airplane bike motorcycle bicycle scooter cycle van taxi cab ambulance tractor "
    "trailer chair couch sofa bench seat bed table desk toilet tv television monitor screen laptop computer keyboard "
    "mouse remote phone book clock vase bowl cup glass bottle plate dish mug fork knife spoon pot pan container box "
    "bag suitcase luggage umbrella kite ball bat frisbee skateboard surfboard snowboard racket sandwich pizza donut "
    "doughnut cake banana apple carrot broccoli orange hotdog food fruit bread bun muffin pastry slice piece bunch "
    "light lamp meter hydrant sign plant flower tree bush fence pole fridge refrigerator oven microwave stove sink "
    "urinal tub bathtub mirror window door wall floor ground pillow blanket towel cloth fabric sheet curtain rug "
    "carpet star heart house mushroom sky cloud grass water sand snow road street mountain hill rock building tower "
    "bridge lake river ocean beach field cart wheel tire windshield headlight picture painting frame candle soup salad "
    "rice meat cheese lettuce tomato lemon strawberry grape egg toast burrito fries chips cookie drink wine beer "
    "coffee tea juice milk soda sauce ketchup mustard dip pepperoni sushi veggies vegetable vegetables pea peas bean "
    "beans potato corn onion pepper pickle olive pineapple kiwi pear melon watermelon scissors backpack purse tray "
    "basket rack shelf cabinet drawer dresser counter board case jar can pitcher stick rod toy doll lid straw cover "
    "layer page cushion stool loveseat recliner futon crib controller printer speaker camera vehicle jeep suv minivan "
    "motor engine jet helicopter ship canoe raft sail ladder statue poster rhino tow frosting icing topping stuffing "
    "pudding dressing awning railing ceiling drawing lettering string wing ring sling swing lighting opening half "
    "triangle square circle oval rectangle wineglass highchair armchair tablecloth bookshelf bookcase flowerpot "
    "lamppost streetlight signpost post column pillar arch gate sidewalk stairs steps stair balcony roof chimney tent "
    "hut shack cottage church castle temple ruins monument fountain pool cactus palm peach shed sled mat bricks logs "
    "log stump branch leaf leaves"
)
FURTHER_NOUNS = _split_words(
    "tennis baseball soccer football basketball wii chocolate number area part row side edge corner space section "
    "stack pile patch label tag logo handle strap stem tip pie dessert planter platter grill comic display kitchen "
    "napkin card button buttons collar pocket hood sprinkle sprinkles hole design room bathroom bedroom court game "
    "traffic sun formation cactus cacti turtle seal llama koala kangaroo snake island nightstand walkway trail doorway "
    "lighthouse hedge bucket barrel structure cluster branches headboard boulder squirrel whale sculpture ridge gazebo "
    "stadium bracelet ribbon sticker letters writing words toothbrush toothpick burger sausage cupcake noodles pasta "
    "macaroni fireplace blueberries chardonnay mattress carriage ottoman burner basin faucet ramp track tracks "
    "platform suv pickup wagon cone balloon ornament calendar magnet faces mitt equipment gear trash garbage bin "
    "recycle"
)
"""Other nouns that are frequent in grounding queries."""

IMAGE_NOUNS = _split_words("shot shots picture pictures photo photos photograph image images painting poster")
"""Nouns for images; "a picture of a sheep" is about the sheep."""

STUFF = _split_words(
    "sky cloud clouds grass ground water sea ocean lake river beach sand snow ice dirt mud road street path pavement "
    "sidewalk floor wall ceiling mountain mountains hill hills cliff rock rocks stone stones field meadow desert "
    "forest woods tree trees bush bushes shrub shrubs foliage vegetation leaves land landscape horizon building "
    "buildings city town skyline house houses fence stairs steps bricks gravel fog smoke shadow waves waterfall pond "
    "canyon valley hillside mountainside mountaintop grassland greenery plants crowd_ scenery terrain"
)
"""Nouns without bounds that fill a landscape; drawn as a scene."""

VAGUE_NOUNS = _split_words("thing object item stuff something anything things items objects thingy")
VAGUE = VAGUE_NOUNS | _split_words("one ones it that this those these spot anything z")
"""Nouns that name no category; the kind is then unknown."""

ARTICLES = _split_words("the a an")
INSCRIBED = _split_words("stating displaying says say saying called labeled labelled named reads entitled titled")
ADJECTIVES = _split_words(
    "upsidedown clear bald balding empty full old older oldest young younger youngest naked nude shirtless asian new "
    "dirty clean open closed cute ugly fancy plain round square happy dead broken fresh hot cold wet dry weird "
    "standing nearest bare upright hairy curly solid curved pointy shiny fluffy messy normal real fake left right"
)
"""Common words that are never the head, whatever their tag."""

RELATIVES = _split_words("that which who whom whose where")
DETERMINERS = _split_words("the a an his her their he she it they we you i")
IRREGULAR = {
    "tshirt": "shirt", "men": "man", "women": "woman", "children": "child", "people": "person", "feet": "foot",
    "hooves": "hoof", "teeth": "tooth", "geese": "goose", "mice": "mouse", "knives": "knife", "wolves": "wolf",
    "leaves": "leaf", "calves": "calf", "scarves": "scarf", "shelves": "shelf", "veggies": "veggie", "ladies": "lady",
    "puppies": "puppy", "dishes": "dish", "benches": "bench", "couches": "couch", "boxes": "box", "buses": "bus",
    "fries": "fries", "sandwiches": "sandwich", "slices": "slice", "glass": "glass", "babies": "baby",
    "cherries": "cherry", "strawberries": "strawberry", "berries": "berry", "potatoes": "potato", "tomatoes": "tomato",
}  # fmt: skip
PLURALS = frozenset({"people", "men", "women", "children", "feet", "teeth", "geese", "mice"})
SAME_IN_SINGULAR = _split_words(
    "fatigues scrubs glasses pants jeans shorts sunglasses goggles shades trunks overalls clothes tights leggings "
    "headphones pajamas sweats trousers slacks capris khakis skis woods scissors chips fries bus glass dress grass "
    "police sheep fish tennis"
)
"""Nouns that end like a plural, or have no singular."""

FRAMING = _split_words(
    "oh hmm hey omg er lead viewed partial partially partly visible blurry blurred blur main other whole entire same "
    "only actual prominent weird cutoff off half_ stuck closeup shown seen view sorry lol please click pick haha oops "
    "yep yeah wow wtf just very most almost barely really kinda sort slightly nearly mostly maybe probably also too "
    "either not_ another different extreme complete particular obvious clearly located position whatever directly way "
    "more less exact definitely super second-most okay ok think seem seems uhh uhhh um aint couldn't"
)
"""Words about the image or to the listener; an image of the target shows none of them."""

WEARING = _split_words("wearing wears wear dressed wearig waring weearing clad")
HOLDING = _split_words("holding holds hold carrying carries holing grabbing gripping clutching swinging lifting")
HAVING = _split_words("with w having has have w/ featuring containing wit whit whose showing")
NEGATIONS = _split_words(
    "doesnt didnt cant wont hasnt isn't doesn't not no without except but minus isnt dont ignore excluding never "
    "neither nor"
)
COMPOUNDS = {
    "parking": "meter lot sign", "cutting": "board", "baking": "sheet pan tray dish", "dining": "table room chair",
    "washing": "machine", "rocking": "chair horse", "rolling": "pin bag suitcase", "serving": "dish tray plate spoon",
    "mixing": "bowl spoon", "frying": "pan", "ironing": "board", "sewing": "machine", "swimming": "pool trunks suit",
    "shopping": "cart bag bags", "reading": "glasses lamp", "sleeping": "bag", "drinking": "glass fountain straw",
    "cooking": "pot pan", "landing": "gear", "steering": "wheel", "wrapping": "paper", "playing": "cards card field",
    "folding": "chair table", "skating": "rink", "building": "block blocks", "boxing": "gloves", "chewing": "gum",
    "measuring": "cup spoon", "carving": "knife", "vending": "machine", "hanging": "lamp light plant",
    "knitting": "needle needles", "feeding": "trough", "cowboy": "hat boots", "chef": "hat", "santa": "hat suit",
}  # fmt: skip
"""Compounds that begin like an action or a person: "cutting board", "cowboy hat"."""

OBJECT_ACTIONS = _split_words(
    "riding eating drinking playing cutting reading pushing pulling throwing catching hitting kicking feeding brushing "
    "texting talking using driving flying cooking pouring blowing taking making serving petting doing hugging kissing "
    "biting licking chewing sipping typing washing swinging"
)
"""Actions with an object that belongs in the image ("eating pizza")."""

POSTURES = _split_words(
    "facing-camera sitting standing laying lying walking running jumping smiling sleeping kneeling crouching squatting "
    "leaning bending stooping reaching looking facing skating skiing surfing swimming grazing resting waving laughing "
    "hanging flying parked seated crouched bent pointing crossing watching staring stooped swinging posing turned "
    "batting skateboarding snowboarding dancing bowing squinting yawning stretching grinning frowning crying"
)
FILLED = _split_words("covered filled topped wrapped decorated made cut stuffed loaded trimmed sprinkled stacked piled")
"""States with a visible complement: "covered in snow", "cut into a triangle"."""

PLACED = _split_words("viewed held worn shown hung stuck sat kept seen taken given led driven laid set put")
"""Irregular participles that give a place or an agent."""

RELATIONS = _split_words(
    "behind above below under underneath beneath beside between near by over against around across along inside into "
    "onto through towards toward past outside among amongst atop alongside at on in from to off for next out about up "
    "down upon within touching covering blocking hiding like as after before during including"
)
"""Prepositions, and verbs like them, before a related object; "on", "in", "with" and "of" are matched earlier."""

SKIPPED = _split_words(
    "and the a an is are was were be been being am 's s i you we they he she him them his her its their my our your me "
    "us there here who whom whose which what when where while if because so then than do does did can could will would "
    "should shall may might must see seeing find choose get got let go going gets im whats thats hes shes theyre whos "
    "youre they're he's she's it's you're i'm that's who's please all any some each every own self still away even "
    "already again right_ anywhere & , ; : . - color colour colored coloured shade look looks said trying about kind "
    "type"
)

PERSONS = _split_words("man woman person guy girl boy lady kid child dude gentleman gal men women people")
"""General words for people; a noun after one is a possession, not the second half of a compound."""

JOINED = {
    "lap top": "laptop", "motor cycle": "motorcycle", "motor bike": "motorbike", "cell phone": "cellphone",
    "base ball": "baseball", "key board": "keyboard", "skate board": "skateboard", "surf board": "surfboard",
    "snow board": "snowboard", "skate boarder": "skateboarder", "snow boarder": "snowboarder", "back pack": "backpack",
    "suit case": "suitcase", "hand bag": "handbag", "sun glasses": "sunglasses", "eye glasses": "glasses",
    "arm chair": "armchair", "book shelf": "bookshelf", "wheel chair": "wheelchair", "tooth brush": "toothbrush",
    "hot dog": "hotdog", "hot dogs": "hotdogs", "table cloth": "tablecloth", "table cloths": "tablecloths",
    "t shirt": "tshirt", "hair cut": "haircut", "water melon": "watermelon", "pony tail": "ponytail",
    "sweat shirt": "sweatshirt", "head phones": "headphones", "door way": "doorway", "side walk": "sidewalk",
    "lamp post": "lamppost", "bath tub": "bathtub", "note book": "notebook", "air plane": "airplane",
    "tea pot": "teapot", "flower pot": "flowerpot",
}  # fmt: skip
"""Single nouns for pairs of words."""

SPELLING = {
    "blk": "black", "blck": "black", "blak": "black", "bk": "black", "wht": "white", "wh": "white", "grn": "green",
    "greem": "green", "ylw": "yellow", "yello": "yellow", "purp": "purple", "orng": "orange", "grey": "gray",
    "brwn": "brown", "blu": "blue", "drk": "dark", "stripped": "striped", "strip": "striped", "stiped": "striped",
    "stripy": "striped", "stripey": "striped", "checkerd": "checkered", "lft": "left", "leftt": "left", "lef": "left",
    "leff": "left", "leftest": "leftmost", "letf": "left", "rigth": "right", "rihgt": "right", "rt": "right",
    "righ": "right", "rite": "right", "ight": "right", "rght": "right", "frm": "from", "fromt": "front",
    "frt": "front", "fron": "front", "botom": "bottom", "botttom": "bottom", "bottm": "bottom", "midlle": "middle",
    "mid": "middle", "midle": "middle", "middel": "middle", "centre": "center", "cntr": "center", "ctr": "center",
    "furtherest": "furthest", "farest": "farthest", "fartherest": "farthest", "closes": "closest", "closet": "closest",
    "bottomright": "bottom right", "bottomleft": "bottom left", "topleft": "top left", "topright": "top right",
    "farleft": "far left", "farright": "far right", "upperleft": "upper left", "infront": "in front",
    "ontop": "on top", "leftish": "left", "brocolli": "broccoli", "brocoli": "broccoli", "broccolli": "broccoli",
    "broccli": "broccoli", "broc": "broccoli", "zbra": "zebra", "zeb": "zebra", "giraffee": "giraffe",
    "girafe": "giraffe", "girafee": "giraffe", "girrafe": "giraffe", "giraff": "giraffe", "girraff": "giraffe",
    "gir": "girl", "grl": "girl", "sandwhich": "sandwich", "sandwitch": "sandwich", "skiier": "skier",
    "moniter": "monitor", "bananna": "banana", "banna": "banana", "bananan": "banana", "unbrella": "umbrella",
    "umbre": "umbrella", "umberella": "umbrella", "batta": "batter", "doge": "dog", "veh": "vehicle",
    "choc": "chocolate", "metor": "meter", "perso": "person", "persn": "person",
    "womans": "woman's", "mans": "man's", "ladys": "lady's", "giraf": "giraffe", "girafs": "giraffes",
    "wglasses": "with glasses", "pl": "player", "womn": "woman", "womna": "woman", "wman": "woman", "ppl": "people",
    "moto": "motorcycle", "mtrcycle": "motorcycle", "mtorcycle": "motorcycle", "elephan": "elephant",
    "elephent": "elephant", "eleph": "elephant", "coutch": "couch", "hodog": "hotdog", "refridgerator": "refrigerator",
    "suitecase": "suitcase", "w": "with", "n": "and", "t": "tshirt", "buss": "bus", "trailor": "trailer",
    "shrt": "shirt", "shir": "shirt", "sleep": "sleeping", "asleep": "sleeping", "inbetween": "between",
    "doughnut": "donut", "kittie": "kitty", "horsey": "horse", "ithe": "in the", "whit": "white", "sking": "skiing",
    "gras": "grass", "gyu": "guy", "teh": "the", "pic": "picture", "pics": "pictures", "midfle": "middle",
}  # fmt: skip
"""Corrections of frequent misspellings; the head keeps the written form as its surface."""

ACCESSORIES = _split_words(
    "backpack camera watch necklace earring earrings bracelet ring badge tag wig ponytail headphones headset beard bag "
    "purse makeup lanyard medal bandage"
)
"""Accessories, which take "with" instead of "in"."""

AGES = _split_words("old older oldest elderly young younger youngest")
"""Modifiers of a garment's wearer, not of the garment."""

PERSONAL = _split_words("bald balding shirtless naked nude barefoot bearded")
"""Modifiers of people only; "the bald one" is a person."""

SINGULAR_WITH_S = _split_words("bus glass dress grass police sheep fish tennis")
MASS = _split_words(
    "frosting icing broccoli rice water food bread grass sky snow sand cheese lettuce meat beer wine coffee milk juice "
    "soup hair fruit luggage people police clothing furniture ketchup mustard sauce ice corn art tennis dirt soda tea "
    "wood fur skin pasta ground mud gravel fog smoke steam lettering writing text popcorn spaghetti"
)
"""Nouns that take no article."""

COLOR_FORMS = {
    "grey": "gray", "blonde": "blond", "golden": "gold", "reddish": "red", "bluish": "blue", "greenish": "green",
    "yellowish": "yellow", "pinkish": "pink", "brownish": "brown", "whitish": "white", "multicolor": "colorful",
    "multicolored": "colorful", "blackish": "black", "darker": "dark", "darkest": "dark", "lighter": "light",
    "lightest": "light", "brighter": "bright",
}  # fmt: skip
PATTERN_FORMS = {
    "stripe": "striped", "stripes": "striped", "checked": "checkered", "dots": "dotted", "dot": "dotted",
    "polka": "dotted", "spotted": "dotted", "flowered": "floral", "flowery": "floral", "camouflage": "camo",
}  # fmt: skip
MODIFIER_FORMS = {
    "older": "old", "oldest": "old", "elderly": "old", "younger": "young", "youngest": "young", "balding": "bald",
    "wooden": "wood", "upsidedown": "upside-down",
}  # fmt: skip
UNSEEN_ACTIONS = _split_words(
    "looking facing watching staring showing being having going coming doing getting trying pointing touching turned "
    "crossing following missing taking making using"
)
"""Actions that cannot be drawn without their object or direction."""

POSES = _split_words("sitting standing laying lying seated facing-camera leaning resting")
"""Postures of people and animals; a "sitting" bench looks like any bench."""

ACTION_FORMS = {
    "facing-camera": "facing the camera", "laying": "lying", "seated": "sitting", "crouched": "crouching",
    "stooped": "crouching", "stooping": "bending", "bent": "bending", "squatting": "crouching",
}  # fmt: skip

SYNONYMS = {
    "guy": "man", "dude": "man", "gentleman": "man", "male": "man", "fella": "man", "fellow": "man", "bro": "man",
    "lady": "woman", "gal": "woman", "female": "woman", "chick": "woman", "kid": "child", "kiddo": "child",
    "youngster": "child", "human": "person", "individual": "person", "someone": "person", "somebody": "person",
    "adult": "person", "ump": "umpire", "batter": "batter", "hitter": "batter", "sofa": "couch", "loveseat": "couch",
    "fridge": "refrigerator", "television": "tv", "doughnut": "donut", "cycle": "bike", "bicycle": "bike",
    "motorbike": "motorcycle", "plane": "airplane", "kitty": "cat", "doggy": "dog", "tee": "shirt", "tshirt": "shirt",
    "t-shirt": "shirt", "hoody": "hoodie", "top_": "top", "specs": "glasses", "cop": "policeman", "mom": "woman",
    "dad": "man", "cellphone": "phone", "teddy": "teddy bear", "auto": "car", "suv": "car",
}  # fmt: skip
"""Common word for synonyms of equal appearance, so that "left guy" and "man on left" share an image."""
