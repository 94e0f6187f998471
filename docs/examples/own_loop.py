"""Module replacing in a training loop of your own: two stages in plain PyTorch, on a tiny random model."""

import torch
from torch import nn
from transformers import BertConfig, BertModel

from bertpress import Linear, Theseus
from bertpress.methods.theseus.replacing import Hybrid


class Scorer(nn.Module):
    """Any model of yours with a stock encoder inside."""

    def __init__(self) -> None:
        super().__init__()
        config = BertConfig(vocab_size=50, hidden_size=16, num_hidden_layers=4, num_attention_heads=2,
                            intermediate_size=32, max_position_embeddings=16)  # fmt: skip
        self.bert = BertModel(config)
        self.score = nn.Linear(16, 1)

    def forward(self, ids: torch.Tensor) -> torch.Tensor:
        return self.score(self.bert(input_ids=ids).last_hidden_state.mean(dim=1)).squeeze(-1)


torch.manual_seed(1)
model = Scorer()  # stands for your fine-tuned predecessor, with its trained head
ids = torch.randint(5, 50, (64, 8))
target = (ids < 25).float().mean(dim=1)
steps = 40

# Stage one: the hybrid freezes the encoder but for the substitutes; freezing the parts of your own is up to you.
hybrid = Hybrid(model.bert, Theseus(successor_layers=2, rate=Linear(base=0.3, full_at=0.5)), seed=1)
model.score.requires_grad_(False)
optimizer = torch.optim.AdamW([p for p in model.parameters() if p.requires_grad], lr=1e-3)
for step in range(steps):
    mask = hybrid.draw(step, steps)
    if not any(mask):
        continue  # nothing is replaced, so there is nothing to train: no backward pass
    nn.functional.mse_loss(model(ids), target).backward()
    optimizer.step()
    optimizer.zero_grad(set_to_none=True)  # a module that is not drawn next time stays where it is

# Stage two: an ordinary encoder of two layers takes the hybrid's place, and everything is trained.
model.bert = hybrid.successor()
model.requires_grad_(True)
optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3)
for _ in range(steps):
    loss = nn.functional.mse_loss(model(ids), target)
    loss.backward()
    optimizer.step()
    optimizer.zero_grad()
print(f"{model.bert.config.num_hidden_layers} layers, loss {loss.item():.3f}")
