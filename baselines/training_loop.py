"""The loop that fine-tunes and unlearns: plain torch, on one process or many.

A step's loss is the sum of its passes' shares over all processes and forward passes (see
`baselines.losses`): how it is cut changes memory and speed, and the result by rounding only. Steps
are a function of the settings alone, so that a checkpoint needs no more of the position than a
number, and a killed run goes on bit for bit on a CPU.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from baselines.adapters import Adapter, Start, add_adapter
from baselines.batches import Encoder
from baselines.methods import Method
from baselines.schedule import Sample, Step, epoch_steps, passes
from baselines.step import run_pass
from baselines.training_settings import TrainSettings
from baselines.training_state import Outcome, RunFolder, peak_memory, step_cost, summed
from eval.dataset_rows import ImageStore
from eval.model import Model
from eval.spread import shown
from mllmu_med.progress import say
from mllmu_med_dataset import UserError

if TYPE_CHECKING:
    from accelerate import Accelerator


#: Called in every process after each step that is taken, with its number (from 1). The model is
#: the one given to `train`, and answers as trained so far.
OnStep = Callable[[int], None]


def learning_rate(step: int, steps: int, settings: TrainSettings) -> float:
    """Of a step (from 0): a rise over the first `warmup` of the steps, then half a cosine."""
    rise = math.ceil(settings.warmup * steps)
    if step < rise:
        return settings.learning_rate * (step + 1) / rise
    done = (step - rise) / max(1, steps - rise)
    low = settings.lr_end
    return settings.learning_rate * (low + (1 - low) * (1 + math.cos(math.pi * done)) / 2)


@dataclass(slots=True)
class Loop:
    model: Model
    method: Method
    name: str
    forget: list[Sample]
    retain: list[Sample]
    settings: TrainSettings
    folder: RunFolder
    run: str
    card: str
    accelerator: Accelerator
    start: Start | None = None
    done: int = 0
    reason: str = ""  # to end the run as collapsed
    line: dict[str, Any] = field(default_factory=dict)
    moved: dict[str, float] = field(default_factory=dict)
    read: float = 0  # tokens, by all processes in the last step
    encoder: Encoder = field(init=False)
    adapter: Adapter = field(init=False)
    optimizer: Any = field(init=False)
    #: The model as shared between processes, and as this process has it: what needs no gradients
    #: is not waited for by the others.
    modules: tuple[Any, Any] = field(init=False)

    def run_all(self, images: ImageStore, on_step: OnStep | None) -> Outcome:
        s = self.settings
        steps = self.prepare(images)
        plan = self.plan(0)
        self._resume()
        with shown(self.name, steps, self._more) as advance:
            advance(self.done)
            while self.done < steps and not self.reason:
                epoch, at = divmod(self.done, len(plan))
                for step in self.plan(epoch)[at : at + steps - self.done]:
                    self.reason = self.step(step, steps)
                    if self.reason:
                        break
                    advance(1)
                    if on_step:
                        on_step(self.done)
                    if self.done % s.save_every == 0 and self.done % len(plan):
                        self._save(only_if_due=True)
                else:
                    self._save()
        return self._end()

    def prepare(self, images: ImageStore) -> int:
        """Put the adapter on and set the optimizer up; the number of steps there will be."""
        import torch

        from baselines.forward import AnswerLogits

        s = self.settings
        self.encoder = Encoder(self.model, images)
        epoch = len(self.plan(0))
        how = (s.rank, s.alpha, s.seed, s.projector, self.start, bool(self.method.reference))
        self.adapter = add_adapter(self.model, *how)
        _checkpoint_activations(self.model.base, s.checkpointing)
        weights = list(self.adapter.weights().values())
        fused = self.model.device.type == "cuda"
        if fused:
            torch.cuda.reset_peak_memory_stats(self.model.device)
        alone = AnswerLogits(self.model, images)
        optimizer = torch.optim.AdamW(
            weights, s.learning_rate, s.betas, weight_decay=s.weight_decay, fused=fused
        )
        shared, self.optimizer = self.accelerator.prepare(alone, optimizer)
        self.modules = shared, alone
        return min(s.max_steps or s.epochs * epoch, s.epochs * epoch)

    def plan(self, epoch: int) -> list[Step]:
        tokens = self.encoder.answer_tokens
        return epoch_steps(self.method, self.forget, self.retain, self.settings, epoch, tokens)

    def step(self, step: Step, steps: int) -> str:
        """One optimizer step and its cost; why the run has to end, or nothing."""
        started, number = time.monotonic(), self.done + 1
        reason = self._train_on(step, steps)
        if self.accelerator.is_main_process:
            seconds, peak = time.monotonic() - started, peak_memory(self.model.device)
            cost = step_cost(number, seconds, self.read, step, self.forget, peak)
            self.folder.spend(cost)
        return reason

    def _train_on(self, step: Step, steps: int) -> str:
        import torch

        s, acc = self.settings, self.accelerator
        total: dict[str, Any] = {}
        mine = passes(step, s.micro_batch, acc.num_processes, acc.process_index)
        for i, micro_batch in enumerate(mine):
            last = i + 1 == len(mine)
            with nullcontext() if last else acc.no_sync(self.modules[0]):
                try:
                    tally = run_pass(
                        micro_batch, step, self.method, s, self.encoder, *self.modules, self.adapter
                    )
                    # Processes' gradients are averaged, but their shares of the loss add up.
                    acc.backward(tally.loss * acc.num_processes)
                except torch.cuda.OutOfMemoryError as error:
                    raise UserError(
                        f"a pass of {len(micro_batch.samples)} samples does not fit into the GPU's "
                        "memory: lower micro_batch, turn checkpointing on, or lower rank"
                    ) from error
            own = {"loss": (tally.loss.detach(),), "read": (tally.loss.new_tensor(tally.read),)}
            for name, pair in {**own, **tally.sums}.items():
                before = total.get(name, (0,) * len(pair))
                total[name] = tuple(a + b for a, b in zip(before, pair, strict=True))
        flat = torch.stack([value.double() for pair in total.values() for value in pair])
        sums = iter(acc.reduce(flat, "sum").tolist())
        terms = {name: tuple(next(sums) for _ in pair) for name, pair in total.items()}
        (loss,), (self.read,) = terms.pop("loss"), terms.pop("read")
        means = {name: a / n for name, (a, n) in terms.items() if n}
        rate = learning_rate(self.done, steps, s)
        weights = self.adapter.weights()
        norm = float(acc.clip_grad_norm_(weights.values(), s.clip))
        self.line = {"step": self.done + 1, "loss": loss, **means, "grad_norm": norm, "lr": rate}
        if not (math.isfinite(loss) and math.isfinite(norm)):
            what = "loss" if not math.isfinite(loss) else "gradient"
            return f"the {what} of step {self.done + 1} is not finite"
        steep = (p.grad for name, p in weights.items() if "lora_B" in name)
        if self.done == 0 and not any(grad is not None and bool(grad.any()) for grad in steep):
            raise RuntimeError("the first step changes no weight of the adapter")
        if self.method.after:
            self._move(self.method.after(self.method.values(s), means))
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)
        self.done += 1
        if acc.is_main_process:
            self.folder.add(self.line)
        bound = s.collapse * math.log(self.model.model.config.get_text_config().vocab_size)
        if means.get("forget", 0) > bound:
            return (
                f"the forget loss of step {self.done} is {means['forget']:.1f}, above "
                f"{bound:.1f} ({s.collapse:g} times that of an even guess)"
            )
        return ""

    def _move(self, values: dict[str, float]) -> None:
        """Settings of the method that a step has changed: logged, kept in the checkpoint."""
        self.moved = values
        self.line |= values
        self.settings = self.settings.model_copy(update=values)

    def _more(self) -> str:
        said = [n for n in ("loss", "forget", "refused", "clean", "retain", "kl") if n in self.line]
        return ", ".join(f"{name} {self.line[name]:.3f}" for name in said)

    def _save(self, only_if_due: bool = False) -> None:
        import torch

        if self.accelerator.is_main_process and (self.folder.due() or not only_if_due):
            self.folder.save(
                {
                    "run": self.run,
                    "step": self.done,
                    "reason": self.reason,
                    "weights": {n: p.detach().cpu() for n, p in self.adapter.weights().items()},
                    "optimizer": self.optimizer.state_dict(),
                    "random": torch.get_rng_state(),
                    "moved": self.moved,
                }
            )

    def _resume(self) -> None:
        import torch

        if self.accelerator.is_main_process:
            self.folder.cut_log(self.run)
        self.accelerator.wait_for_everyone()
        state = self.folder.load(self.run)
        if not state:
            return
        self.adapter.load(state["weights"])
        self.optimizer.load_state_dict(state["optimizer"])
        torch.set_rng_state(state["random"])
        self._move(state.get("moved", {}))
        self.done, self.reason = state["step"], state["reason"]
        if self.accelerator.is_main_process:
            say(f"  {self.name}: goes on after step {self.done:,}")

    def _end(self) -> Outcome:
        s, main = self.settings, self.accelerator.is_main_process
        if main:
            self.adapter.save(self.folder.adapter, self.card)
        self.accelerator.wait_for_everyone()
        self.adapter.let_go()
        cost = summed(self.folder.spent(), self.model, s, self.accelerator.num_processes)
        outcome = Outcome(
            status="collapsed" if self.reason else "finished",
            reason=self.reason,
            steps=self.done,
            seconds=cost["seconds"],
            adapter=self.folder.adapter,
            compute=cost,
        )
        if main:
            self.folder.end(outcome)
            if self.reason:
                say(f"  {self.name}: stopped as collapsed: {self.reason}")
        self.accelerator.wait_for_everyone()
        if self.model.device.type != "cpu":
            self.accelerator.free_memory()
        return outcome


def _checkpoint_activations(base: Any, on: bool) -> None:
    """Whether to compute activations again in the backward pass instead of keeping them.

    Of the layers that hold something to train. They alone are told that they train, and not what
    is in them: dropout stays off.
    """
    from transformers.modeling_layers import GradientCheckpointingLayer

    kind = "activation" if hasattr(base, "activation_checkpointing_enable") else "gradient"
    if on:
        getattr(base, f"{kind}_checkpointing_enable")({"use_reentrant": False})
    else:
        getattr(base, f"{kind}_checkpointing_disable")()
    for module in base.modules():
        if isinstance(module, GradientCheckpointingLayer):
            module.training = on and any(p.requires_grad for p in module.parameters())
