"""Tiny image classifiers of transformers with random weights, saved as users save theirs."""

from transformers import ViTConfig, ViTForImageClassification, ViTImageProcessor

SIZES = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 16}
MEAN, STD = [0.485, 0.456, 0.406], [0.229, 0.224, 0.225]


def save_tiny_vit(folder, classes=10, processor=True, weights=True):
    """A ViT for 16x16 images in `folder`; returns the model."""
    model = ViTForImageClassification(ViTConfig(**SIZES, image_size=16, patch_size=4, num_labels=classes)).eval()
    model.save_pretrained(folder) if weights else model.config.save_pretrained(folder)
    if processor:
        ViTImageProcessor(size={"height": 16, "width": 16}, image_mean=MEAN, image_std=STD).save_pretrained(folder)
    return model
