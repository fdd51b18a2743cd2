#include "kernels/kernel_table.h"

#include "kernels/scalar.h"

namespace lethe::kernels {

namespace {

using quant::Encoding;

KernelTable make_scalar_kernels() noexcept {
  KernelTable table{};
  table.name = "scalar";
  install_scalar_dots(table);
  install_scalar_activations(table);
  install_scalar_wide_row_dots(table);
  install_scalar_int8_row_dots(table);
  install_scalar_index_scores(table);
  install_scalar_attention(table);
  return table;
}

}  // namespace

ActivationFormat activation_format(Encoding encoding) noexcept {
  switch (encoding) {
    case Encoding::F32:
      return ActivationFormat::F32;
    case Encoding::F16:
    case Encoding::BF16:
    case Encoding::Fp8Block:
    case Encoding::Fp8Row:
      return ActivationFormat::Bf16;
    default:
      return ActivationFormat::Int8;
  }
}

const KernelTable& scalar_kernels() noexcept {
  static const KernelTable table = make_scalar_kernels();
  return table;
}

}  // namespace lethe::kernels
