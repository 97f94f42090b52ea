"""The repositories of pytorch/hub in --demo."""

HUBCONF = b'''"""What torch.hub.load("pytorch/tiny", NAME) can make."""
dependencies = ["torch"]


def perceptron(inputs=8, outputs=2):
    """One layer, not trained."""
    from tiny.model import Perceptron
    return Perceptron(inputs, outputs)
'''
MODEL = b'''import torch


class Perceptron(torch.nn.Module):
    def __init__(self, inputs, outputs):
        super().__init__()
        self.layer = torch.nn.Linear(inputs, outputs)

    def forward(self, x):
        return torch.relu(self.layer(x))
'''
README = b"""# tiny

    torch.hub.load("pytorch/tiny", "perceptron")
"""

REPOS = {"pytorch/tiny": {"hubconf.py": HUBCONF, "README.md": README,
                          "tiny/__init__.py": b"", "tiny/model.py": MODEL}}
