"""How a rationale says that it was mistaken at first: by the cause, at least four ways each.

`{at}`, `{first_at}` and `{second_at}` are spans of the scene, `{heard}` is where something was heard instead;
`{sound}` and `{wrong}` are noun phrases, `{who}` is "speaker 2".
"""

from __future__ import annotations

CAUSES: dict[str, tuple[str, ...]] = {
    "missed_event": (
        "I passed over {sound}, heard at {at}.",
        "What escaped me is {sound} at {at}.",
        "I failed to take note of {sound} at {at}.",
        "The recording has {sound} at {at}, and I let that slip by.",
    ),
    "misheard_sound": (
        "What I took for {wrong}{heard} is {sound}, at {at}.",
        "I mistook {sound} at {at} for {wrong}{heard}.",
        "The sound at {at} is {sound}; I believed that I heard {wrong}{heard}.",
        "I thought of {wrong}{heard}, where what can be heard at {at} is {sound}.",
    ),
    "confused_sounds": (
        "I mixed up two sounds: what comes at {first_at} is {first}, and what comes at {second_at} is"
        " {second}.",
        "I had two sounds the wrong way round; {first} belongs at {first_at} and {second} at {second_at}.",
        "Two sounds changed places in my mind: {first} can be heard at {first_at}, {second} at {second_at}.",
        "It is {first} that can be heard at {first_at} and {second} that can be heard at {second_at}, not the"
        " reverse.",
    ),
    "split_sound": (
        "I counted {sound} at {at} twice, although it goes on without a break.",
        "What I took for two occasions is one: {sound} at {at}, without any pause.",
        "I heard a pause that is not there; {sound} goes on without a break at {at}.",
        "At {at} there is no interruption: I cut {sound} in two.",
    ),
    "misplaced_sound": (
        "I placed the sound of {sound} at {heard}, but it comes at {at}.",
        "My timing was off: the sound of {sound} falls at {at}, not at {heard}.",
        "I had the sound of {sound} down for {heard}; it is really heard at {at}.",
        "The sound of {sound} does not come at {heard}, as I had it, but at {at}.",
    ),
    "phantom_sound": (
        "I believed that I heard {wrong} at {heard}, but nothing of the kind is there.",
        "There is no sign of {wrong} at {heard}: I imagined that.",
        "What I noted as {wrong} at {heard} is not in the recording.",
        "At {heard} I thought of {wrong}, and a second listen does not bear that out.",
    ),
    "speech_as_sound": (
        "What I took for {wrong} at {heard} is a voice: {who} talks at {at}.",
        "I mistook speech for {wrong} at {heard}; it is {who} who can be heard at {at}.",
        "There is no sign of {wrong} at {heard}, only the voice of {who}, who talks at {at}.",
        "I heard {wrong} at {heard} in what is really speech, from {who}, at {at}.",
    ),
    "background_as_speech": (
        "What I took for {wrong}{heard} belongs to the background: it is {sound}, at {at}.",
        "I mistook the background for speech; what can be heard at {at} is {sound}, not {wrong}{heard}.",
        "Nobody is talking there: it is {sound} at {at} that I took for {wrong}{heard}.",
        "I counted {sound} at {at} as {wrong}{heard}, but that is no voice.",
    ),
    "phantom_speech": (
        "I thought that I heard {wrong} at {heard}, but nobody speaks there.",
        "Nobody talks at {heard}; I only imagined {wrong} there.",
        "What I noted as {wrong} at {heard} is not speech at all.",
        "At {heard} I believed that {wrong} was talking, and a second listen finds no words there.",
    ),
    "missed_speech": (
        "I passed over {who}, who talks at {at}{words}.",
        "What escaped me is the voice of {who} at {at}{words}.",
        "I did not take note of what {who} says at {at}{words}.",
        "At {at} one hears {who}{words}, and I left that out.",
    ),
    "speaker_attribution": (
        "I gave the speech at {at}{words} to {wrong}, but the voice is that of {who}.",
        "The voice heard at {at}{words} is that of {who}, and I took it for {wrong}.",
        "I confused two voices: at {at}{words} it is {who} who talks, not {wrong}.",
        "At {at}{words} I heard {wrong} where {who} is the one talking.",
    ),
    "missed_overlap": (
        "I let {first} ({first_at}) stop before {second} ({second_at}) comes in, but both talk at {shared}.",
        "At {shared} two voices sound at once, {first} ({first_at}) and {second} ({second_at}); I heard only"
        " one.",
        "I missed that {second} ({second_at}) comes in while {first} ({first_at}) is still talking.",
        "I took the change from {first} ({first_at}) to {second} ({second_at}) for a clean one; they overlap"
        " at"
        " {shared}.",
    ),
    "phantom_overlap": (
        "I heard {first} ({first_at}) and {second} ({second_at}) at once, but one has stopped when the other"
        " begins.",
        "I let {first} go on for too long: that turn lies at {first_at}, and {second} talks at {second_at}.",
        "There is no moment with both voices where {second} ({second_at}) follows {first} ({first_at}).",
        "I blurred the change from {first} ({first_at}) to {second} ({second_at}); they do not overlap"
        " there.",
    ),
    "confused_lines": (
        "I mixed up two lines: {first} is said at {first_at}, and {second} at {second_at}.",
        "I had two lines the wrong way round; {first} belongs at {first_at} and {second} at {second_at}.",
        "Two lines changed places in my memory: {first} comes at {first_at}, {second} at {second_at}.",
        "It is {first} that is said at {first_at} and {second} that is said at {second_at}, not the reverse.",
    ),
    "misheard_words": (
        "I made out {wrong} at {at}, where {who} says {words}.",
        "The words of {who} at {at} are {words}; I misheard them as {wrong}.",
        "What {who} says at {at} is {words}, not {wrong}.",
        "I caught the words at {at} wrongly: {who} says {words}, and I heard {wrong}.",
    ),
    "misjudged_tone": (
        "I took the voice of {who} at {at} for {wrong}, but it sounds {right}.",
        "I misjudged the tone: at {at} {who} sounds {right}, not {wrong}.",
        "The voice of {who} at {at} sounds {right}; I read it as {wrong}.",
        "I went by the words and not by the voice: {who} sounds {right} at {at}, not {wrong}.",
    ),
    "misunderstood": (
        "I misunderstood {who} at {at}: that does not mean {wrong} but {right}.",
        "What {who} says at {at} means {right}; I took it for {wrong}.",
        "I got the meaning wrong: at {at} {who} says {right}, not {wrong}.",
        "The words of {who} at {at} do not say {wrong}; they say {right}.",
    ),
    "misread_question": (
        "I answered another question, {answered}, and what is asked is {asked}.",
        "I misread the question: it is {asked}, and not {answered}.",
        "My argument settles {answered}, but the question is {asked}.",
        "What I hold is true, yet it answers {answered}, and the question is {asked}.",
    ),
    "left_out": (
        "I left out {row}, although I have it above.",
        "My reckoning passes over {row}, which stands above.",
        "Going through what I noted above, I find that {row} is missing from my reckoning.",
        "I did not count in {row}, and yet I noted it above.",
    ),
    "option_mismatch": (
        "I chose {choice} without holding it against what can be heard.",
        "The choice {choice} was a guess, and it does not agree with what I noted.",
        "I picked {choice} too quickly: it does not match the evidence.",
        "Nothing that I noted speaks for {choice}; I did not check the choices one by one.",
    ),
}
RENUMBERED = (
    "That threw out the numbers of the voices after it.",
    "With that, my numbering of the voices was off.",
    "So I counted the voices wrongly from there on.",
    "That is why my numbers of the speakers do not fit.",
)
RECONSIDERED = (
    "Wait.",
    "Let me check this against the recording.",
    "That does not hold up on a second listen.",
    "Before I leave it at that, I go back over what I heard.",
    "Going back over it, I find a mistake.",
    "This needs another look.",
    "Something is wrong with that.",
)
COMPARED = (  # where the caption is right
    "I should compare this with what I noted above.",
    "Let me go through what I noted above once more.",
)
CORRECTIONS = (
    "So it is not {wrong}, but {right}.",
    "That rules out {wrong}; the answer is {right}.",
    "I correct my answer from {wrong} to {right}.",
    "Hence {right}, and not {wrong}.",
    "Instead of {wrong} I have to choose {right}.",
    "With that, {wrong} falls away, and {right} is what remains.",
)
PLACES = (
    "The evidence lies at {}.",
    "What counts is heard at {}.",
    "This can be checked at {}.",
    "Compare what is heard at {}.",
)
FIRST = (
    "At first hearing, this is how it seems.",
    "My first impression is this.",
    "Going by a first pass:",
    "As I remember it:",
    "On one listen, it appears to be like this.",
)
HASTY = (
    "I have a choice in mind that sounds plausible, and I have not gone back to check it.",
    "Without going through the choices one by one, I take what seems likely.",
    "One of the choices strikes me as the natural one, so I follow that impression.",
    "I do not compare the choices with what I noted, but go by how it seems.",
)
UNSETTLED = (
    "Nothing that I noticed settles this, so I go by what fits the rest.",
    "I am not sure that I heard what this turns on, so I choose what is plausible.",
)
UNPLACED = (  # where the question names a sound that was not perceived
    "I cannot place what the question asks about, so I go by what seems likeliest.",
    "What the question is about did not stand out to me, and I am left with a guess.",
)
NOTICED = (
    "Of the sounds on offer I did notice {}.",
    "Among these sounds, {} is one that I am sure to have heard.",
    "At least one of the sounds on offer is among those that I noted, {}.",
)
NOTHING_FITS = (
    "Nothing that I noticed fits any of the other choices.",
    "I find nothing in what I heard that one of the other choices could mean.",
    "What the question asks about did not reach my ear.",
    "I noticed nothing of the kind.",
)
GUESSES = (
    "I lean towards {}.",
    "So I go with {}.",
    "My guess is {}.",
    "I settle for {}.",
    "That leaves me with {}.",
)
HASTY_SUMMARIES = (
    "Off-hand, I take {}.",
    "At a glance, the answer is {}.",
    "Without a check, my choice is {}.",
    "My quick choice is {}.",
)
GUESSED = (
    "Nothing settles it, and my guess is {}.",
    "It remains a guess: {}.",
    "I cannot tell for certain and take what seems likeliest: {}.",
    "The choice is a guess, {}.",
)
SEEMING = (
    "It seems that {}.",
    "As far as I can tell at once, {}.",
    "By a first impression, {}.",
    "At first hearing, {}.",
    "If I am not mistaken, {}.",
)
