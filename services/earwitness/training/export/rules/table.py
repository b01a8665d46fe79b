"""Which rule belongs to which operator."""

from collections.abc import Mapping

import torch

from earwitness.training.export.exporter import Decomposition, Operator
from earwitness.training.export.rules import attention, convolution, pointwise, pooling, resampling

_aten = torch.ops.aten

RULES: Mapping[Operator, Decomposition] = {
    _aten.convolution.default: convolution.convolution,
    _aten.convolution_backward.default: convolution.convolution_backward,
    _aten._scaled_dot_product_flash_attention_for_cpu.default: attention.flash_attention,
    _aten._scaled_dot_product_flash_attention_for_cpu_backward.default: attention.flash_attention_backward,
    _aten.max_pool2d_with_indices_backward.default: pooling.max_pool_backward,
    _aten.max_pool3d_with_indices_backward.default: pooling.max_pool_backward,
    _aten.adaptive_max_pool2d.default: pooling.adaptive_max_pool,
    _aten.adaptive_max_pool3d.default: pooling.adaptive_max_pool,
    _aten.adaptive_max_pool2d_backward.default: pooling.adaptive_max_pool_backward,
    _aten.adaptive_max_pool3d_backward.default: pooling.adaptive_max_pool_backward,
    _aten.avg_pool2d_backward.default: pooling.avg_pool_backward,
    _aten.avg_pool3d_backward.default: pooling.avg_pool_backward,
    _aten._adaptive_avg_pool2d.default: pooling.adaptive_avg_pool,
    _aten._adaptive_avg_pool3d.default: pooling.adaptive_avg_pool,
    _aten._adaptive_avg_pool2d_backward.default: pooling.adaptive_avg_pool_backward,
    _aten._adaptive_avg_pool3d_backward.default: pooling.adaptive_avg_pool_backward,
    _aten.upsample_nearest1d_backward.default: resampling.nearest_backward,
    _aten.upsample_nearest2d_backward.default: resampling.nearest_backward,
    _aten.upsample_nearest3d_backward.default: resampling.nearest_backward,
    _aten._upsample_nearest_exact1d_backward.default: resampling.nearest_exact_backward,
    _aten._upsample_nearest_exact2d_backward.default: resampling.nearest_exact_backward,
    _aten._upsample_nearest_exact3d_backward.default: resampling.nearest_exact_backward,
    _aten.upsample_linear1d_backward.default: resampling.linear_backward,
    _aten.upsample_bilinear2d_backward.default: resampling.linear_backward,
    _aten.upsample_trilinear3d_backward.default: resampling.linear_backward,
    _aten.upsample_bicubic2d_backward.default: resampling.bicubic_backward,
    _aten.reflection_pad1d_backward.default: resampling.reflection_backward,
    _aten.reflection_pad2d_backward.default: resampling.reflection_backward,
    _aten.reflection_pad3d_backward.default: resampling.reflection_backward,
    _aten.replication_pad1d_backward.default: resampling.replication_backward,
    _aten.replication_pad2d_backward.default: resampling.replication_backward,
    _aten.replication_pad3d_backward.default: resampling.replication_backward,
    _aten.leaky_relu_backward.default: pointwise.leaky_relu_backward,
    _aten.threshold_backward.default: pointwise.threshold_backward,
    _aten.elu_backward.default: pointwise.elu_backward,
    _aten.native_batch_norm_backward.default: pointwise.batch_norm_backward,
    _aten.slice_backward.default: pointwise.slice_backward,
    _aten.select_backward.default: pointwise.select_backward,
}
