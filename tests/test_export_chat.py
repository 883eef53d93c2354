"""Lists for trainers: ms-swift and LLaMA-Factory against the layouts they document, TRL with the library
itself.
"""

import json
from pathlib import Path

import jsonschema
import pytest
from builds import make

from paqa.dataset import shards
from paqa.publish.export.registry import export
from paqa.publish.export.trl import reward
from paqa.publish.export.verl import compute_score
from paqa.questions.english import spoken
from paqa.questions.sound_names import UNASKED
from paqa.rationale import grammar
from paqa.rationale.prompt import PromptQuestion, answer, literal, prompt, question

MESSAGE = {
    "type": "object",
    "properties": {"role": {"enum": ["user", "assistant"]}, "content": {"type": "string", "minLength": 1}},
    "required": ["role", "content"],
    "additionalProperties": False,
}
CHAT = {
    "type": "object",
    "properties": {
        "messages": {"type": "array", "items": MESSAGE, "minItems": 2, "maxItems": 2},
        "audios": {"type": "array", "items": {"type": "string"}, "minItems": 1, "maxItems": 1},
    },
    "required": ["messages", "audios"],
}
INFO = {  # hiyouga/LLaMA-Factory, data/README.md: the keys it knows of a local file in sharegpt form
    "type": "object",
    "additionalProperties": {
        "type": "object",
        "properties": {
            "file_name": {"type": "string"},
            "formatting": {"const": "sharegpt"},
            "columns": {"const": {"messages": "messages", "audios": "audios"}},
            "tags": {
                "type": "object",
                "properties": {
                    k: {"type": "string"} for k in ("role_tag", "content_tag", "user_tag", "assistant_tag")
                },
                "additionalProperties": False,
            },
        },
        "required": ["file_name", "formatting", "columns", "tags"],
        "additionalProperties": False,
    },
}


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    return make(tmp_path_factory.mktemp("build") / "made")


@pytest.fixture(scope="module")
def items(built):
    return {i.id: i for i in map(shards.item, shards.rows(built))}


def lines(path):
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def test_the_build_has_all_kinds_of_rows(items):
    kinds = {(i.reflected, bool(i.choices)) for i in items.values()}
    assert kinds == {(True, True), (False, True), (False, False)}


@pytest.mark.parametrize(("name", "file"), [("swift", "{}.jsonl"), ("llamafactory", "paqa_{}.jsonl")])
def test_chat_lists_keep_to_their_layout(built, items, tmp_path, name, file):
    out = tmp_path / "out"
    export(name, built, out)
    found = [row for split in ("train", "test") for row in lines(out / file.format(split))]
    assert len(found) == len(items)
    for row in found:
        jsonschema.validate(row, CHAT)
        user, assistant = (m["content"] for m in row["messages"])
        assert user.count("<audio>") == 1
        assert user.startswith("<audio>")
        assert "<audio>" not in assistant
        letters = "\n(A) " in user
        grammar.parse(assistant, letters=letters)
        (audio,) = row["audios"]
        assert Path(audio).is_absolute() == (name == "swift")
        assert (out / audio).is_file()


def test_swift_solutions_are_the_right_answers(built, items, tmp_path):
    export("swift", built, tmp_path / "out")
    for split in ("train", "test"):
        for row in lines(tmp_path / "out" / f"{split}.jsonl"):
            item = items[row["id"]]
            said = row["messages"][1]["content"]
            assert item.split == split
            assert row["solution"] == answer(item)
            assert row["reflected"] == ("<REFLECT>" in said)
            assert f">{row['solution']}</{'FINAL_ANSWER' if item.reflected else 'RESPONSE'}>" in said


def test_dataset_info_describes_the_files(built, tmp_path):
    export("llamafactory", built, tmp_path / "out")
    info = json.loads((tmp_path / "out" / "dataset_info.json").read_text())
    jsonschema.validate(info, INFO)
    assert set(info) == {"paqa_train", "paqa_test"}
    for described in info.values():
        row = lines(tmp_path / "out" / described["file_name"])[0]
        assert set(row) == set(described["columns"].values())
        tags = described["tags"]
        assert [set(m) for m in row["messages"]] == [{tags["role_tag"], tags["content_tag"]}] * 2
        assert [m[tags["role_tag"]] for m in row["messages"]] == [tags["user_tag"], tags["assistant_tag"]]


def test_verl_rows_ask_as_paqa_train_and_their_reward_is_ours(built, items, tmp_path):
    export("verl", built, tmp_path / "out")
    found = [row for split in ("train", "test") for row in lines(tmp_path / "out" / f"{split}.jsonl")]
    assert len(found) == len(items)
    for row in found:
        item = items[row["extra_info"]["id"]]
        ((message,), (audio,)) = row["prompt"], row["audios"]
        assert message == {"role": "user", "content": f"<audio>{question(PromptQuestion.of(item))}"}
        assert item.rationale not in message["content"]
        assert Path(audio).is_file()
        assert row["reward_model"]["ground_truth"] == answer(item)
        given = {name: row[name] for name in ("data_source", "extra_info")}
        given["ground_truth"] = row["reward_model"]["ground_truth"]
        scores = compute_score(solution_str=item.rationale, **given)
        assert scores["score"] == pytest.approx(1.6)
        assert compute_score(solution_str="a dog", **given)["score"] < 0.1
        assert scores["perception"] == 1.0


def test_nemo_rl_rows_are_conversations_with_one_sound(built, items, tmp_path):
    export("nemo_rl", built, tmp_path / "out")
    found = [row for split in ("train", "test") for row in lines(tmp_path / "out" / f"{split}.jsonl")]
    assert len(found) == len(items)
    for row in found:
        user, assistant = row["conversations"]
        assert (user["from"], assistant["from"]) == ("user", "assistant")
        assert user["value"] == f"<sound>{question(PromptQuestion.of(items[row['id']]))}"
        assert assistant["value"] == items[row["id"]].rationale
        assert (user["value"] + assistant["value"]).count("<sound>") == 1
        assert Path(row["sound"]).suffix == ".wav"
        assert Path(row["sound"]).is_file()
    asked = lines(tmp_path / "out" / "data.jsonl")  # AudioMCQ's layout
    assert {row["id"] for row in asked} == {i.id for i in items.values() if i.split == "train" and i.choices}
    for row in asked:
        item = items[row["id"]]
        assert (row["question"], row["choices"], row["answer"]) == (
            item.question,
            [*item.choices],
            item.answer,
        )
        assert (tmp_path / "out" / row["audio_path"]).is_file()
    export("nemo_rl", built, tmp_path / "test", splits=("test",))
    assert not (tmp_path / "test" / "data.jsonl").exists()


def test_trl_takes_the_rows_for_conversations_and_rewards_them(built, items, tmp_path):
    trl = pytest.importorskip("trl.data_utils")
    datasets = pytest.importorskip("datasets")
    export("trl", built, tmp_path / "out")
    rows = datasets.load_dataset("json", data_files=str(tmp_path / "out" / "train.jsonl"), split="train")
    assert len(rows) == sum(i.split == "train" for i in items.values())
    for row in rows:
        assert trl.is_conversational(row)
        (message,) = row["prompt"]
        audio, text = message["content"]
        assert (audio.keys(), text.keys()) == ({"type", "audio"}, {"type", "text"})
        assert Path(audio["audio"]).is_file()
        item = items[row["id"]]
        assert text["text"] == prompt(item)
        assert item.scene.transcript not in text["text"]
    batch = rows[:]
    columns = {name: batch[name] for name in ("reference", "id", "task")}
    full = reward(completions=batch["completion"], prompts=batch["prompt"], **columns)
    assert full == pytest.approx([1.6] * len(rows))
    nothing = [[{"role": "assistant", "content": "I do not know."}]] * len(rows)
    assert reward(completions=nothing, **columns) == [0.0] * len(rows)
    argued = 0
    for i, row in enumerate(rows):  # a question that rests on speech, argued from the background as well
        item = items[row["id"]]
        sounds = [spoken(e.label) for e in item.scene.events if e.label not in UNASKED]
        if sounds and all(e.kind != "event" for e in item.evidence):
            said = item.rationale.replace("<SUMMARY>", f"<SUMMARY>The {sounds[0]} tells it. ", 1)
            told = {name: column[i : i + 1] for name, column in columns.items()}
            assert reward(completions=[said], **told) == pytest.approx([1.3])
            argued += 1
    assert argued


def test_the_library_normalises_the_prompts(built, tmp_path):
    trl = pytest.importorskip("trl.data_utils")
    export("trl", built, tmp_path / "out")
    row = lines(tmp_path / "out" / "test.jsonl")[0]
    assert trl.prepare_multimodal_messages(row["prompt"]) == row["prompt"]


def test_an_audio_processor_hears_the_clips_of_the_prompts(built, tmp_path):
    """Qwen2-Audio's own template and processor, over a small vocabulary: one token for each 40 ms of
    sound.
    """
    transformers = pytest.importorskip("transformers")
    tokenizers = pytest.importorskip("tokenizers")
    export("trl", built, tmp_path / "out")
    prompts = [row["prompt"] for row in lines(tmp_path / "out" / "test.jsonl")[:3]]
    special = ["<|AUDIO|>", "<|audio_bos|>", "<|audio_eos|>", "<|im_start|>", "<|im_end|>"]
    model = tokenizers.models.WordLevel({w: i for i, w in enumerate(["<unk>", *special])}, unk_token="<unk>")
    tokenizer = transformers.PreTrainedTokenizerFast(
        tokenizer_object=tokenizers.Tokenizer(model),
        unk_token="<unk>",
        pad_token="<unk>",
        additional_special_tokens=special,
    )
    processor = transformers.Qwen2AudioProcessor(
        transformers.WhisperFeatureExtractor(feature_size=128), tokenizer
    )
    template = processor.default_chat_template
    read = processor.apply_chat_template(
        prompts, chat_template=template, tokenize=True, return_dict=True, processor_kwargs={"padding": True}
    )
    heard = [list(ids).count(tokenizer.convert_tokens_to_ids("<|AUDIO|>")) for ids in read["input_ids"]]
    assert heard == [250] * len(prompts)  # 10 s


def test_text_that_looks_like_a_place_for_media():
    assert literal("He said <audio> and <image>, not <ENV>.") == "He said ‹audio› and ‹image›, not <ENV>."
