"""Models and adapters that others have saved: read as they were meant, or one line why not."""

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from cases import cases
from families import FAMILIES, Pictures

from eval.chat_format import chat_format
from eval.checkpoint_faults import check_processor, not_loaded, outside_decoder
from eval.load_model import load_model
from eval.weights import pick_device, weights_hash, with_adapter
from mllmu_med.files import digest, file_digest
from mllmu_med_dataset import UserError

CASES = cases(__file__)

PLACES = r".*language_model\.layers\.\d+\.self_attn\.(q|v)_proj"
IDS = torch.tensor([[1, 8, 9, 10, 11]])


def net_of(model: Path) -> Any:
    from transformers import AutoModelForImageTextToText

    return AutoModelForImageTextToText.from_pretrained(model).eval()


def save(net: Any, folder: Path, seed: int = 1, **how: Any) -> Path:
    """An adapter of random weights, as plain PEFT saves it; LoRA on two maps of each layer."""
    from peft import LoraConfig, get_peft_model

    torch.manual_seed(seed)
    tuned = get_peft_model(net, LoraConfig(**{"r": 4, "target_modules": PLACES, **how}))
    for weight in tuned.parameters():
        if weight.requires_grad:
            torch.nn.init.normal_(weight, std=0.3)
    tuned.save_pretrained(folder)
    return folder


def as_of_before(folder: Path, new: Path, rename: Callable[[str], str], **config: Any) -> Path:
    """The same adapter with other names of weights, and with other words in its configuration."""
    from safetensors.torch import load_file, save_file

    weights = load_file(folder / "adapter_model.safetensors")
    new.mkdir()
    save_file({rename(k): w for k, w in weights.items()}, new / "adapter_model.safetensors")
    told = json.loads((folder / "adapter_config.json").read_text()) | config
    (new / "adapter_config.json").write_text(json.dumps(told))
    return new


def logits(net: Any) -> torch.Tensor:
    with torch.no_grad():
        found: torch.Tensor = net(input_ids=IDS).logits
    return found


def merged(model: Path, *adapters: Path) -> torch.Tensor:
    """What PEFT makes of adapters that are merged into the model, one after the other."""
    from peft import PeftModel

    net = net_of(model)
    for adapter in adapters:
        net = PeftModel.from_pretrained(net, adapter).merge_and_unload()
    return logits(net.eval())


def test_an_adapter_with_another_vocabulary(
    tiny: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """In its embeddings, or in its tokenizer alone; one like the model's changes nothing."""
    plain = load_model(str(tiny))
    tokenizer, rows = plain.processor.tokenizer, len(plain.processor.tokenizer)
    net = net_of(tiny)
    net.resize_token_embeddings(rows + 20)
    whole = save(net, tmp_path / "whole", modules_to_save=["lm_head", "embed_tokens"])
    lora = save(net_of(tiny), tmp_path / "lora")
    tokenizer.save_pretrained(lora)
    (lora / "chat_template.jinja").write_text("other")
    load_model(str(tiny), [lora])
    assert "its chat_template.jinja is not the model's" in capsys.readouterr().err
    tokenizer.add_tokens(["<organ>"])
    tokenizer.save_pretrained(lora)
    for adapter, size in ((whole, rows + 20), (lora, rows + 1)):
        said = f"its vocabulary has {size} tokens, and the model's {rows}: merge it into"
        with pytest.raises(UserError, match=said):
            load_model(str(tiny), [adapter])


def old_llava(name: str) -> str:
    name = name.replace("model.model.language_model.", "model.language_model.model.")
    name = name.replace("model.lm_head", "model.language_model.lm_head")
    name = name.replace("model.model.vision_tower.", "model.vision_tower.vision_model.")
    return name.replace("model.model.multi_modal", "model.multi_modal")


EVERYWHERE = r".*(q_proj|fc1|linear_1)"
OLD_PATTERN = (
    r"(language_model\.model|vision_tower)\..*(q_proj|fc1)|multi_modal_projector\.linear_1"
)


@pytest.mark.parametrize(
    ("how", "config"),
    [
        ({}, {}),
        ({"target_modules": EVERYWHERE}, {"target_modules": OLD_PATTERN}),
        (
            {
                "rank_pattern": {r"language_model\.layers\.0\.self_attn\.q_proj": 2},
                "alpha_pattern": {r"language_model\.layers\.1\.self_attn\.v_proj": 32},
            },
            {
                "target_modules": r"language_model\.model\.layers\.\d\.self_attn\.[qv]_proj",
                "rank_pattern": {r"language_model\.model\.layers\.0\.self_attn\.q_proj": 2},
                "alpha_pattern": {r"language_model\.model\.layers\.1\.self_attn\.v_proj": 32},
            },
        ),
        ({"modules_to_save": ["lm_head"]}, {"modules_to_save": ["language_model.lm_head"]}),
        (
            {"modules_to_save": ["multi_modal_projector"], "use_dora": True},
            {"exclude_modules": ".*vision.*", "target_modules": ["q_proj", "v_proj"]},
        ),
    ],
)
def test_names_of_an_older_transformers(
    tiny: Path, tmp_path: Path, how: Any, config: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    """As PEFT reads the same adapter with the names of today."""
    from peft import PeftModel

    good = save(net_of(tiny), tmp_path / "good", **how)
    old = as_of_before(good, tmp_path / "old", old_llava, **config)
    capsys.readouterr()
    found = logits(load_model(str(tiny), [old]).model)
    assert re.search(r"\d+ weights have names of an older transformers", capsys.readouterr().err)
    wanted = logits(PeftModel.from_pretrained(net_of(tiny), good))
    assert torch.equal(found, wanted)
    assert not torch.allclose(found, logits(net_of(tiny)), atol=0.1)
    stacked = logits(load_model(str(tiny), [old, save(net_of(tiny), tmp_path / "b", 2)]).model)
    assert torch.allclose(stacked, merged(tiny, good, tmp_path / "b"), atol=1e-3)


def config_of(name: str) -> Any:
    """A small configuration of a family."""
    family = FAMILIES[name]
    return family.configuration(dict.fromkeys(f"{family.special} {family.last}".split(), 3), 64)


@pytest.mark.parametrize(
    "name", "llava_llama llava_next gemma3 qwen2_5_vl qwen3_vl internvl idefics3 mllama".split()
)
def test_four_bits_leave_the_vision_side_alone(name: str) -> None:
    """As transformers' integration of bitsandbytes chooses the layers."""
    from transformers import AutoModelForImageTextToText
    from transformers.quantizers.quantizers_utils import should_convert_module

    with torch.device("meta"):
        model = AutoModelForImageTextToText.from_config(config_of(name))
    inside = {id(part) for part in model.get_decoder().modules()}
    kept = outside_decoder(model)
    linear = {n: p for n, p in model.named_modules() if isinstance(p, torch.nn.Linear)}
    found = {name for name in linear if should_convert_module(name, kept)}
    assert found == {name for name, part in linear.items() if id(part) in inside}
    assert 14 <= len(found) < len(linear)
    assert len(kept) <= 4


def test_names_of_an_older_qwen(tmp_path: Path) -> None:
    """`model.layers`, which are the original program's in a LLaVA."""
    from peft import PeftModel
    from transformers import AutoModelForImageTextToText

    torch.manual_seed(0)
    net = AutoModelForImageTextToText.from_config(config_of("qwen2_5_vl"))
    net.save_pretrained(tmp_path / "model")
    places = r".*(language_model.*(q|down)_proj|visual.*(qkv|mlp\.0))"
    good = save(net_of(tmp_path / "model"), tmp_path / "good", target_modules=places)

    def rename(name: str) -> str:
        name = name.replace("model.model.language_model.", "model.model.")
        return name.replace("model.model.visual.", "model.visual.")

    targets = r"(?:model\.layers.*(q|down)_proj)|visual\..*(qkv|mlp\.0)"
    old = as_of_before(good, tmp_path / "old", rename, target_modules=targets)
    found = logits(with_adapter(net_of(tmp_path / "model"), old).eval())
    wanted = PeftModel.from_pretrained(net_of(tmp_path / "model"), good)
    assert torch.equal(found, logits(wanted))
    weights = with_adapter(net_of(tmp_path / "model"), old).state_dict()
    seen = [name for name in weights if "visual" in name and "lora_B" in name]
    assert len(seen) == 2 * 1 + 1  # qkv of two blocks, one map of the merger
    for name, weight in wanted.state_dict().items():
        assert torch.equal(weight, weights[name.replace(".default.", ".adapter_0.")]), name


def change(adapter: Path, **words: Any) -> None:
    file = adapter / "adapter_config.json"
    told = json.loads(file.read_text()) | words
    file.write_text(json.dumps({key: value for key, value in told.items() if value != "gone"}))


@pytest.mark.parametrize(
    ("words", "said"),
    CASES["a_configuration_that_does_not_fit"],
)  # fmt: skip
def test_a_configuration_that_does_not_fit(
    tiny: Path, tmp_path: Path, words: Any, said: str
) -> None:
    adapter = save(net_of(tiny), tmp_path / "a")
    change(adapter, base_model_name_or_path="/models/base")
    load_model(str(tiny), [adapter])
    change(adapter, **words)
    with pytest.raises(UserError, match=said) as told:
        load_model(str(tiny), [adapter])
    assert "\n" not in str(told.value)


class Evil:
    """What a pickle may hold that no weights are."""

    def __reduce__(self) -> Any:
        return print, ("run",)


def test_files_that_are_not_as_they_should_be(
    tiny: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from safetensors.torch import load_file

    adapter = save(net_of(tiny), tmp_path / "a")
    good = logits(load_model(str(tiny), [adapter]).model)
    file = adapter / "adapter_model.safetensors"
    weights = load_file(file)
    file.rename(adapter / "other.safetensors")
    with pytest.raises(UserError, match=r"holds no weights \(adapter_model.safetensors or"):
        load_model(str(tiny), [adapter])
    torch.save(weights, adapter / "adapter_model.bin")
    assert torch.equal(logits(load_model(str(tiny), [adapter]).model), good)
    torch.save(weights | {"more": Evil()}, adapter / "adapter_model.bin")
    with pytest.raises(UserError, match="more than tensors and could run code"):
        load_model(str(tiny), [adapter])
    assert "run" not in capsys.readouterr().out.split()
    (adapter / "adapter_config.json").write_text("{'peft_type': ")
    with pytest.raises(UserError, match=r"adapter_config.json: not JSON"):
        load_model(str(tiny), [adapter])


def test_adapters_that_replace_whole_layers(tiny: Path, tmp_path: Path) -> None:
    """One of them among others, or one for each layer, is what merging makes; two are refused."""
    head = save(net_of(tiny), tmp_path / "head", 1, modules_to_save=["lm_head"])
    words = save(net_of(tiny), tmp_path / "words", 2, modules_to_save=["embed_tokens"])
    bare, other = (save(net_of(tiny), tmp_path / f"bare{i}", i) for i in (3, 4))
    stacks = [head], [head, bare], [bare, head], [bare, head, other], [head, words], [words, head]
    for stack in stacks:
        found = logits(load_model(str(tiny), stack).model)
        assert torch.allclose(found, merged(tiny, *stack), atol=1e-4)
    second = save(net_of(tiny), tmp_path / "second", 5, modules_to_save=["lm_head"])
    with pytest.raises(UserError, match=r"replace the same layer whole \(of lm_head\)"):
        load_model(str(tiny), [head, bare, second])


def test_a_lora_of_the_original_program(tiny: Path, tmp_path: Path) -> None:
    good = save(net_of(tiny), tmp_path / "good")
    old = as_of_before(good, tmp_path / "a", lambda name: name.replace("language_model.", ""))
    with pytest.raises(UserError, match=r"original LLaVA program.*convert-llava-med MERGED NEW"):
        load_model(str(tiny), [old])
    torch.save({}, good / "non_lora_trainables.bin")
    with pytest.raises(UserError, match="original LLaVA program"):
        load_model(str(tiny), [good])
    net = net_of(tiny)
    net.config.model_type = "qwen2_vl"
    with pytest.raises(
        UserError, match=r"non_lora_trainables\.bin holds weights that PEFT does not"
    ):
        with_adapter(net, good)


def copied(tiny: Path, new: Path, **config: Any) -> Path:
    new.mkdir()
    for path in tiny.iterdir():
        (new / path.name).write_bytes(path.read_bytes())
    told = json.loads((new / "config.json").read_text()) | config
    (new / "config.json").write_text(json.dumps(told))
    return new


def test_models_of_the_original_program(tiny: Path, tmp_path: Path) -> None:
    med = copied(tiny, tmp_path / "med", model_type="llava_mistral")
    with pytest.raises(UserError, match=rf"\(llava_mistral\): .*convert-llava-med {med} NEW") as e:
        load_model(str(med))
    assert isinstance(e.value.__cause__, ValueError)
    hub = str(not_loaded("ORG/llava-med", e.value.__cause__))
    assert "(`hf download ORG/llava-med --local-dir SRC`, then `python -m baselines" in hub
    plain = copied(tiny, tmp_path / "plain", model_type="llava_llama")
    own = {"AutoConfig": "configuration_internvl_chat.InternVLChatConfig"}
    code = copied(tiny, tmp_path / "code", model_type="internvl_chat", auto_map=own)
    with pytest.raises(UserError, match=r"code of its own, which is not run: .*-hf\)"):
        load_model(str(code))
    with pytest.raises(UserError, match=r"\(llava_llama\): use the same model in transformers'"):
        load_model(str(plain))


def test_weights_of_another_shape(tiny: Path, tmp_path: Path) -> None:
    from safetensors.torch import load_file, save_file

    model = copied(tiny, tmp_path / "model")
    weights = load_file(model / "model.safetensors")
    name = next(name for name in weights if name.endswith("linear_1.weight"))
    weights[name] = weights[name][:, :48].contiguous()
    save_file(weights, model / "model.safetensors", {"format": "pt"})
    with pytest.raises(
        UserError, match=r"1 weights .*linear_1\.weight is \[128, 48\], not \[128, 64"
    ):
        load_model(str(model))
    del weights[next(name for name in weights if name.endswith("lm_head.weight"))]
    save_file(weights, model / "model.safetensors", {"format": "pt"})
    with pytest.raises(
        UserError, match=r"2 weights .*first: lm_head\.weight; .*is \[128, 48\], not"
    ):
        load_model(str(model))


def test_what_a_processor_does_not_say(
    tiny: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    model = copied(tiny, tmp_path / "model")
    file = model / "processor_config.json"
    told = json.loads(file.read_text())
    for key in ("patch_size", "vision_feature_select_strategy", "num_additional_image_tokens"):
        del told[key]
    file.write_text(json.dumps(told))
    capsys.readouterr()
    mended, image = load_model(str(model)), Pictures()["0"]
    assert (
        "patch_size 16, vision_feature_select_strategy default, num_additional_image_tokens 1"
        in (capsys.readouterr().err)
    )
    read = [m.read_texts([m.prompt("")], [image]) for m in (mended, load_model(str(tiny)))]
    assert torch.equal(*(one["input_ids"] for one in read))
    assert not capsys.readouterr().err
    config = mended.model.config
    mended.processor.patch_size, config.vision_config.patch_size = None, None
    with pytest.raises(UserError, match=r"no patch_size, and its config.json does not tell it"):
        check_processor(mended.processor, config, "m")
    (model / "chat_template.jinja").unlink()
    with pytest.raises(UserError, match=r"its processor has no chat template.*add chat_template"):
        load_model(str(model))
    # As converted from LLaVA-Med, whose prompt is known.
    config.vision_config.patch_size = 16
    config.text_config.vocab_size, config.image_token_index = 32064, 32000
    mended.processor.chat_template = None
    check_processor(mended.processor, config, "m")
    config.text_config.model_type = "llama"
    with pytest.raises(UserError, match="no chat template"):
        check_processor(mended.processor, config, "m")


def test_a_template_with_a_date_that_thinks(tiny: Path) -> None:
    processor = load_model(str(tiny)).processor
    processor.chat_template = (
        "{{ strftime_now('%d %b %Y') }} {% for m in messages %}{% if m.role == 'user' %}<image>: "
        "{{ m.content[-1].text }} A:{% else %}<think></think> {{ m.content[0].text }}</s>"
        "{% endif %}{% endfor %}"
    )
    form = chat_format(processor, "m")
    assert form.prompt("Why?", True) == "26 Jul 2024 <image>: Why? A:<think></think> "
    assert (form.separator, form.closing) == ("", "</s>")
    assert "(thinking: closed in the prompt; date: always 2024-07-26)" in form.source


def test_what_a_trainer_keeps_is_no_part_of_a_hash(tiny: Path, tmp_path: Path) -> None:
    adapter = save(net_of(tiny), tmp_path / "a")
    before = weights_hash(adapter)
    names = ("adapter_config.json", "adapter_model.safetensors")
    assert before == digest({name: file_digest(adapter / name) for name in names})[:16]
    for name in ("optimizer.pt", "scheduler.pt", "training_args.bin", "rng_state_0.pth",
                 "optimizer.bin", "scheduler.bin", "trainer_state.json"):  # fmt: skip
        (adapter / name).write_text(name)
    assert weights_hash(adapter) == before
    (adapter / "tokenizer.json").write_text("{}")  # perhaps not used
    assert weights_hash(adapter) == before
    (adapter / "more.bin").write_text("x")  # weights, for all we know
    assert weights_hash(adapter) != before


def test_what_decides_answers_is_part_of_a_hash(tiny: Path, tmp_path: Path) -> None:
    model = copied(tiny, tmp_path / "model")
    seen, generation = {weights_hash(model)}, model / "generation_config.json"
    told = json.loads(generation.read_text())
    generation.write_text(json.dumps({**told, "temperature": 0.1}))
    assert seen == {weights_hash(model)}
    for name in ("preprocessor_config.json", "chat_template.jinja", "tokenizer_config.json"):
        (model / name).write_text('{"max_pixels": 7}')
        seen.add(weights_hash(model))
    generation.write_text(json.dumps({**told, "eos_token_id": 7}))
    assert len({*seen, weights_hash(model)}) == 5


WRAPPED = {
    "torch.compile": lambda name: f"_orig_mod.{name}",
    "DeepSpeed": lambda name: f"module.{name}",
    "FSDP": lambda name: name.replace(".lora_", "._fsdp_wrapped_module.lora_"),
    "checkpointing": lambda n: n.replace(".self_attn", "._checkpoint_wrapped_module.self_attn"),
    "a state dict": lambda name: name.replace(".weight", ".default.weight"),
}


@pytest.mark.parametrize("program", WRAPPED)
def test_names_that_programs_wrap(tiny: Path, tmp_path: Path, program: str) -> None:
    good = save(net_of(tiny), tmp_path / "good")
    other = as_of_before(good, tmp_path / "other", WRAPPED[program])
    wanted = logits(load_model(str(tiny), [good]).model)
    assert torch.equal(logits(load_model(str(tiny), [other]).model), wanted)


def test_adapters_without_effect_or_numbers(
    tiny: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from safetensors.torch import load_file, save_file

    adapter = save(net_of(tiny), tmp_path / "run" / "checkpoint-500")
    file = adapter / "adapter_model.safetensors"
    weights = load_file(file)
    save_file({k: w * ("lora_A" in k) for k, w in weights.items()}, file)
    load_model(str(tiny), [adapter])
    assert "changes nothing: its lora_B are all 0" in capsys.readouterr().err
    save_file({k: w * float("nan") for k, w in weights.items()}, file)
    with pytest.raises(UserError, match="no numbers"):
        load_model(str(tiny), [adapter])
    file.write_text("version https://git-lfs.github.com/spec/v1")
    with pytest.raises(UserError, match="a pointer of git-lfs"):
        load_model(str(tiny), [adapter])
    with pytest.raises(UserError, match=f"no PEFT adapter here .*: give {adapter}"):
        load_model(str(tiny), [adapter.parent])
    with pytest.raises(UserError, match="a whole model: give it as --model"):
        load_model(str(tiny), [tiny])
    with pytest.raises(UserError, match="is an adapter: give it as --adapter"):
        load_model(str(adapter))


@pytest.mark.parametrize("content", ["{{ m.content }}", "{{ m.content[-1].text }}"])
def test_a_template_without_a_place_for_images(tiny: Path, tmp_path: Path, content: str) -> None:
    """A text model's, which prints the list of parts or their text alone."""
    model = copied(tiny, tmp_path / "model")
    (model / "chat_template.jinja").write_text(f"{{% for m in messages %}}{content}{{% endfor %}}")
    with pytest.raises(UserError, match="no place for an image"):
        load_model(str(model))


def test_a_build_with_cuda_and_no_driver_computes_on_the_cpu(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def found(check_available: bool = False) -> torch.device | None:
        return None if check_available else torch.device("cuda")

    monkeypatch.setattr(torch.accelerator, "current_accelerator", found)
    assert pick_device("") == "cpu"
