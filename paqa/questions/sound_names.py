"""How AudioSet labels are said where the label itself does not do; and which ones are not asked about."""

from __future__ import annotations

# Heads of noun phrases that take no article.
BARE = frozenset(
    """rain music wind water thunder applause laughter traffic static fire steam speech noise chatter glass
    wood jazz rock pop techno house disco reggae funk grunge ska swing blues opera flamenco dubstep
    electronica bluegrass beatboxing patter gunfire gunshots footsteps crackle rustle hubbub cutlery
    percussion silence distortion feedback vibration reverberation artillery trance soul
    typing""".split()  # noqa: SIM905
)

# What a sentence says instead of the label.
SPOKEN = {
    "Baby cry, infant cry": "a baby crying",
    "Baby laughter": "a baby laughing",
    "Bark": "a dog barking",
    "Bathtub (filling or washing)": "a bathtub being filled",
    "Bee, wasp, etc.": "a bee or wasp",
    "Bird vocalization, bird call, bird song": "birdsong",
    "Boiling": "something boiling",
    "Bouncing": "something bouncing",
    "Bow-wow": "a dog's bow-wow",
    "Breaking": "something breaking",
    "Burping, eructation": "a burp",
    "Burst, pop": "a pop",
    "Camera": "a camera shutter",
    "Canidae, dogs, wolves": "dogs or wolves",
    "Cattle, bovinae": "cattle",
    "Change ringing (campanology)": "change ringing of church bells",
    "Chicken, rooster": "a chicken or rooster",
    "Child singing": "a child singing",
    "Chink, clink": "a clink",
    "Chirp, tweet": "chirping",
    "Chop": "chopping",
    "Chopping (food)": "food being chopped",
    "Civil defense siren": "a civil defence siren",
    "Clip-clop": "horses' hooves",
    "Cluck": "clucking",
    "Coin (dropping)": "a coin being dropped",
    "Crackle": "crackling",
    "Creak": "creaking",
    "Crowing, cock-a-doodle-doo": "a rooster crowing",
    "Crumpling, crinkling": "something being crumpled",
    "Crunch": "crunching",
    "Crushing": "something being crushed",
    "Cupboard open or close": "a cupboard being opened or closed",
    "Dishes, pots, and pans": "dishes, pots and pans",
    "Domestic animals, pets": "a pet",
    "Drawer open or close": "a drawer being opened or closed",
    "Drip": "dripping",
    "Dental drill, dentist's drill": "a dentist's drill",
    "Engine starting": "an engine starting",
    "Engine knocking": "an engine knocking",
    "Fill (with liquid)": "a vessel being filled",
    "Fire": "a fire",
    "Fixed-wing aircraft, airplane": "an aeroplane",
    "Flap": "flapping",
    "Frying (food)": "food frying",
    "Fusillade": "a volley of shots",
    "Giggle": "giggling",
    "Glass": "the clinking of glass",
    "Hands": "the movement of hands",
    "Heart sounds, heartbeat": "a heartbeat",
    "Hip hop music": "hip hop",
    "Hiss": "hissing",
    "Hubbub, speech noise, speech babble": "a hubbub of voices",
    "Hum": "a machine humming",
    "Ice cream truck, ice cream van": "an ice cream van",
    "Idling": "an engine idling",
    "Accelerating, revving, vroom": "an engine revving",
    "Ambulance (siren)": "an ambulance siren",
    "Jingle, tinkle": "jingling",
    "Keyboard (musical)": "a keyboard instrument",
    "Knock": "knocking",
    "Light engine (high frequency)": "a small high-pitched engine",
    "Medium engine (mid frequency)": "an engine of medium size",
    "Heavy engine (low frequency)": "a heavy low-pitched engine",
    "Livestock, farm animals, working animals": "farm animals",
    "Mains hum": "mains hum",
    "Marimba, xylophone": "a marimba or xylophone",
    "Meow": "a cat meowing",
    "Moo": "a cow mooing",
    "Neigh, whinny": "a horse neighing",
    "Oink": "a pig oinking",
    "Pigeon, dove": "a pigeon or dove",
    "Police car (siren)": "a police siren",
    "Pour": "pouring",
    "Power windows, electric windows": "electric car windows",
    "Purr": "a cat purring",
    "Quack": "quacking",
    "Railroad car, train wagon": "a railway wagon",
    "Rain on surface": "rain on a surface",
    "Rattle": "rattling",
    "Rattle (instrument)": "a hand rattle",
    "Roaring cats (lions, tigers)": "a lion or tiger roaring",
    "Rodents, rats, mice": "rats or mice",
    "Roll": "something rolling",
    "Rowboat, canoe, kayak": "a rowing boat or canoe",
    "Rub": "rubbing",
    "Run": "running steps",
    "Rustle": "rustling",
    "Sailboat, sailing ship": "a sailing boat",
    "Scrape": "scraping",
    "Scratch": "scratching",
    "Scratching (performance technique)": "a record being scratched",
    "Shatter": "something shattering",
    "Shuffle": "shuffling feet",
    "Shuffling cards": "cards being shuffled",
    "Single-lens reflex camera": "a reflex camera",
    "Sink (filling or washing)": "a sink being filled",
    "Sizzle": "sizzling",
    "Skidding": "skidding tyres",
    "Slam": "a door slamming",
    "Slosh": "sloshing",
    "Smash, crash": "a crash",
    "Smoke detector, smoke alarm": "a smoke alarm",
    "Sniff": "sniffing",
    "Splash, splatter": "splashing",
    "Spray": "spraying",
    "Squeak": "squeaking",
    "Squish": "squishing",
    "Stir": "stirring",
    "Stomach rumble": "a rumbling stomach",
    "Strum": "strumming",
    "Subway, metro, underground": "an underground train",
    "Tap": "tapping",
    "Tapping (guitar technique)": "guitar tapping",
    "Tearing": "something being torn",
    "Telephone bell ringing": "a telephone ringing",
    "Telephone dialing, DTMF": "a telephone being dialled",
    "Throat clearing": "someone clearing their throat",
    "Thump, thud": "a thud",
    "Tick": "ticking",
    "Tick-tock": "the tick-tock of a clock",
    "Tire squeal": "squealing tyres",
    "Toilet flush": "a toilet being flushed",
    "Traffic noise, roadway noise": "traffic",
    "Train wheels squealing": "squealing train wheels",
    "Trickle, dribble": "trickling water",
    "Vehicle horn, car horn, honking": "a car horn",
    "Walk, footsteps": "footsteps",
    "Water tap, faucet": "a running tap",
    "Whale vocalization": "a whale",
    "Whimper": "whimpering",
    "Whimper (dog)": "a dog whimpering",
    "Whir": "whirring",
    "Wind noise (microphone)": "wind on the microphone",
    "Zipper (clothing)": "a zip",
    "Bird flight, flapping wings": "flapping wings",
    "Rail transport": "a railway",
    "Ocean": "the ocean",
    "Drum roll": "a drum roll",
    "Double bass": "a double bass",
    "A capella": "a cappella singing",
    "Clatter": "clattering",
    "Clickety-clack": "clickety-clack",
    "Whistling": "someone whistling",
    "Inside, small room": "a small room",
    "Inside, large room or hall": "a large room or hall",
    "Inside, public space": "a public space",
    "Outside, urban or manmade": "a street outdoors",
    "Outside, rural or natural": "open country",
    "Gobble": "a turkey gobbling",
    "Honk": "a goose honking",
    "Bleat": "bleating",
    "Caw": "a crow cawing",
    "Coo": "cooing",
    "Hoot": "an owl hooting",
    "Croak": "croaking",
    "Buzz": "buzzing",
    "Caterwaul": "a cat caterwauling",
    "Squawk": "a bird squawking",
    "Cough": "coughing",
    "Pant": "panting",
    "Gush": "gushing water",
    "Field recording": "a field recording",
    "Timpani": "timpani",
    "Liquid": "liquid being moved",
    "Hammond organ": "a Hammond organ",
    "French horn": "a French horn",
    "Heavy metal": "heavy metal",
    "Pizzicato": "pizzicato",
    "Country": "country music",
    "Afrobeat": "Afrobeat",
    "Middle Eastern music": "Middle Eastern music",
    "Carnatic music": "Carnatic music",
    "Raindrop": "raindrops",
    "Splinter": "splintering wood",
    "Arrow": "an arrow in flight",
    "Patter": "pattering",
    "Air brake": "air brakes",
    "Toot": "a toot of a horn",
    "Funk": "funk",
}

# Too vague, not a background sound, or a voice that belongs to the speech: never an answer, never a choice.
UNASKED = frozenset(
    """Speech|Male speech, man speaking|Female speech, woman speaking|Child speech, kid speaking|Conversation
    |Narration, monologue|Babbling|Speech synthesizer|Shout|Whispering|Human voice|Human sounds
    |Human locomotion|Human group actions|Respiratory sounds|Digestive|Domestic sounds, home sounds
    |Mechanisms|Silence|Noise|Environmental noise|Sound effect|Sine wave|Harmonic|Chirp tone|Pulse
    |Inside, small room|Inside, large room or hall|Inside, public space|Outside, urban or manmade
    |Outside, rural or natural|Reverberation|Echo|Static|Mains hum|Distortion|Sidetone|Cacophony|White noise
    |Pink noise|Throbbing|Vibration|Television|Radio|Field recording|Hands|Chatter
    |Hubbub, speech noise, speech babble|Crowd|Wild animals|Liquid|Wood|Glass|Effects unit|Chorus effect
    |Electronic tuner|Sampler|Tools|Power tool|Medium engine (mid frequency)|Light engine (high frequency)
    |Heavy engine (low frequency)|Independent music|Background music|Soundtrack music|Theme music|Song
    |Music for children|Happy music|Sad music|Tender music|Exciting music|Angry music|Scary music
    |Video game music|Wedding music|Christmas music|Dance music|Ambient music|New-age music|Traditional music
    |Vocal music|Music of Latin America|Music of Africa|Music of Asia|Music of Bollywood|Christian music
    |Sonar|Bow-wow|Natural sounds|Sounds of things|Source-ambiguous sounds|Generic impact sounds
    |Surface contact|Onomatopoeia|Other sourceless|Acoustic environment|Channel, environment and background
    |Deformable shell|Miscellaneous sources|Specific impact sounds|Brief tone
    |Livestock, farm animals, working animals|Domestic animals, pets|Channel environment and background|Whoop
    |Yell|Children shouting""".replace("\n    ", "").split("|")
)

# Classes that are the speech itself.
SPEECH = frozenset(
    """Speech|Male speech, man speaking|Female speech, woman speaking|Child speech, kid speaking|Conversation
    |Narration, monologue|Human voice""".replace("\n    ", "").split("|")
)

# Everyday sounds that fill up the choices where a build has too few kinds of sound.
EVERYDAY = tuple(
    """Rain|Thunder|Wind|Waves, surf|Bark|Meow|Chirp, tweet|Crowing, cock-a-doodle-doo|Moo|Frog|Cricket
    |Baby cry, infant cry|Laughter|Cough|Sneeze|Snoring|Applause|Walk, footsteps|Knock|Doorbell|Slam
    |Water tap, faucet|Toilet flush|Vacuum cleaner|Typing|Keys jangling|Telephone bell ringing|Alarm clock
    |Tick-tock|Church bell|Siren|Vehicle horn, car horn, honking|Train|Helicopter|Motorcycle|Engine starting
    |Chainsaw|Sawing|Hammer|Fireworks|Gunshot, gunfire|Shatter|Guitar|Piano|Drum kit|Pour|Crackle
    |Mechanical fan|Camera|Zipper (clothing)|Smoke detector, smoke alarm|Lawn mower
    |Fixed-wing aircraft, airplane|Bicycle bell|Clapping""".replace("\n    ", "").split("|")
)

# Sounds that a listener may take for one another though AudioSet keeps them in different branches.
CONFUSABLE = tuple(
    frozenset(group.split("|"))
    for group in (
        "Applause|Clapping|Cheering|Crackle|Frying (food)|Fireworks|Firecracker|Rain|Raindrop|Rain on surface"
        "|Sizzle",
        "Rain|Raindrop|Rain on surface|Water|Waterfall|Stream|Waves, surf|Ocean|Water tap, faucet|Steam"
        "|Spray",
        "Water tap, faucet|Sink (filling or washing)|Bathtub (filling or washing)|Pour|Stream|Gush"
        "|Fill (with liquid)"
        "|Trickle, dribble|Water|Splash, splatter|Slosh|Gurgling|Drip|Boiling|Toilet flush",
        "Knock|Tap|Thump, thud|Thunk|Bang|Slam|Hammer|Door|Walk, footsteps|Bouncing|Basketball bounce"
        "|Whack, thwack",
        "Gunshot, gunfire|Explosion|Fireworks|Firecracker|Bang|Burst, pop|Boom|Machine gun|Cap gun"
        "|Artillery fire|Thunder",
        "Siren|Alarm|Car alarm|Fire alarm|Smoke detector, smoke alarm|Alarm clock|Beep, bleep|Buzzer"
        "|Reversing beeps"
        "|Police car (siren)|Ambulance (siren)|Fire engine, fire truck (siren)|Civil defense siren"
        "|Emergency vehicle",
        "Engine|Idling|Car|Truck|Bus|Motorcycle|Lawn mower|Chainsaw|Vehicle|Motor vehicle (road)"
        "|Car passing by"
        "|Boat, Water vehicle|Motorboat, speedboat|Accelerating, revving, vroom|Engine starting"
        "|Traffic noise, roadway noise|Aircraft|Drill"
        "|Helicopter|Fixed-wing aircraft, airplane|Jet engine|Aircraft engine|Propeller, airscrew|Jackhammer",
        "Vacuum cleaner|Hair dryer|Blender|Mechanical fan|Air conditioning|Electric shaver, electric razor"
        "|Drill"
        "|Whir|Hum",
        "Church bell|Bell|Chime|Wind chime|Doorbell|Ding|Ding-dong|Bicycle bell|Jingle bell|Gong"
        "|Tubular bells"
        "|Clang|Ping|Telephone bell ringing|Telephone|Ringtone|Glockenspiel|Cowbell",
        "Keys jangling|Coin (dropping)|Jingle, tinkle|Chink, clink|Jingle bell|Wind chime",
        "Typing|Computer keyboard|Typewriter|Clicking|Clickety-clack|Tick|Tick-tock|Clock|Patter",
        "Baby cry, infant cry|Crying, sobbing|Whimper|Wail, moan|Screaming|Cat|Meow|Caterwaul|Whimper (dog)",
        "Shatter|Glass|Breaking|Smash, crash|Chink, clink|Dishes, pots, and pans|Cutlery, silverware"
        "|Clatter|Coin (dropping)",
        "Chirp, tweet|Bird|Bird vocalization, bird call, bird song|Squeak|Cricket|Whistle|Whistling|Squawk",
        "Fire|Crackle|Rustle|Rustling leaves|Crumpling, crinkling|Tearing|Scratch|Scrape|Rub"
        "|Sanding|Sawing|Filing (rasp)",
        "Wind|Wind noise (microphone)|Waves, surf|Ocean|Breathing|Whoosh, swoosh, swish|Hiss|Steam|Spray",
        "Train|Rail transport|Train horn|Train whistle|Subway, metro, underground|Railroad car, train wagon"
        "|Foghorn"
        "|Steam whistle|Vehicle horn, car horn, honking|Air horn, truck horn|Toot|Honk",
        "Laughter|Giggle|Chuckle, chortle|Snicker|Belly laugh|Baby laughter|Cheering|Children playing",
        "Cough|Throat clearing|Sneeze|Sniff|Snort|Gasp|Pant|Breathing|Sigh|Wheeze|Snoring|Grunt|Groan"
        "|Growling|Oink",
        "Walk, footsteps|Run|Shuffle|Clip-clop|Horse|Patter",
    )
)
