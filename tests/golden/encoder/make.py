"""A small random MegatronBertForMaskedLM: its checkpoint folder as transformers writes it, hidden
states, logits, the loss at masked positions, the gradient of every parameter (PyTorch's autograd),
and every parameter after three steps of torch.optim.AdamW.

Run with the versions in README.md: python make.py
"""

from pathlib import Path

import torch
from safetensors.torch import save_file
from transformers import MegatronBertConfig, MegatronBertForMaskedLM

HERE = Path(__file__).parent
torch.manual_seed(5)

config = MegatronBertConfig(
    vocab_size=41,
    hidden_size=24,
    num_hidden_layers=2,
    num_attention_heads=3,
    intermediate_size=40,
    max_position_embeddings=12,
    hidden_dropout_prob=0.1,
    attention_probs_dropout_prob=0.1,
    layer_norm_eps=1e-12,
    pad_token_id=0,
)
model = MegatronBertForMaskedLM(config)
with torch.no_grad():
    # Larger than at the start of a training, so that no part of the model hides in another's
    # rounding; biases and LayerNorms off 0 and 1.
    for name, parameter in model.named_parameters():
        parameter.add_(0.2 * torch.randn_like(parameter))
model.eval()
model.save_pretrained(HERE / "checkpoint")

length = 9
ids = torch.randint(1, config.vocab_size, (3, length))
attended = torch.ones_like(ids)
attended[1, 6:] = 0
attended[2, 1:] = 0
types = torch.zeros_like(ids)
types[0, 4:] = 1
ids = ids * attended
labels = torch.full_like(ids, -100)
for row, column in [(0, 0), (0, 5), (0, 8), (1, 2), (1, 5), (2, 0)]:
    labels[row, column] = torch.randint(1, config.vocab_size, ())

inputs = dict(input_ids=ids, attention_mask=attended, token_type_ids=types)
out = model(**inputs, labels=labels, output_hidden_states=True)
values = {
    "input_ids": ids.int(),
    "attention_mask": attended.int(),
    "token_type_ids": types.int(),
    "labels": labels.int(),
    "logits": out.logits,
    "loss": out.loss.reshape(1),
}
for i, state in enumerate(out.hidden_states):
    values[f"hidden.{i}"] = state

decays = [p for p in model.parameters() if p.dim() > 1]
others = [p for p in model.parameters() if p.dim() == 1]
groups = [{"params": decays, "weight_decay": 0.1}, {"params": others, "weight_decay": 0.0}]
optimiser = torch.optim.AdamW(groups, lr=0.01, betas=(0.9, 0.98), eps=1e-6)
for step in range(3):
    optimiser.zero_grad()
    model(**inputs, labels=labels).loss.backward()
    if step == 0:
        for name, parameter in model.named_parameters():
            values[f"gradient.{name}"] = parameter.grad.clone()
    norm = torch.nn.utils.clip_grad_norm_(model.parameters(), 1.5)
    values[f"norm.{step}"] = norm.reshape(1)
    optimiser.step()
for name, parameter in model.named_parameters():
    values[f"after.{name}"] = parameter

save_file({name: v.detach().contiguous() for name, v in values.items()}, HERE / "values.safetensors")
