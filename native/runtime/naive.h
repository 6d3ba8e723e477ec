#pragma once

namespace gantry::runtime {

/// True only in the build that the security tests compare with (-DGANTRY_NAIVE=ON, a folder of its own): a runtime as
/// one would write it who thinks of no attack. A defence whose test passes there as well is not tested. Each use stands
/// where the defence is, so that whoever changes one sees what proves it.
#ifdef GANTRY_NAIVE
inline constexpr bool kNaive = true;
#else
inline constexpr bool kNaive = false;
#endif

}  // namespace gantry::runtime
