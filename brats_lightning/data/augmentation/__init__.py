"""The random part of a training batch: drawn on the host from one seed a sample, applied on the batch's device."""
