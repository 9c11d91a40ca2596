//! Instruction-set levels and how a kernel body is compiled for each.

/// Which instructions a kernel may use. Ordered: a later level includes the earlier ones of its architecture.
///
/// All levels that fuse (`Avx2`, `Avx512`, `Neon`) give the same bits, and so do the two that do not (`Scalar`,
/// `Simd128`), but for sines of more than [`crate::sincos::REDUCED_UP_TO`], which are the platform's.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[non_exhaustive]
pub enum IsaLevel {
    /// The target's baseline, products and sums rounded separately: the definition the others are tested
    /// against.
    Scalar,
    /// x86-64 with AVX2 and FMA (2013 onwards).
    #[cfg(target_arch = "x86_64")]
    Avx2,
    /// x86-64 with AVX-512 F, BW, DQ and VL (servers from 2017, AMD from 2022).
    #[cfg(target_arch = "x86_64")]
    Avx512,
    /// `AArch64` with NEON and fused multiply-add (always present there).
    #[cfg(target_arch = "aarch64")]
    Neon,
    /// WebAssembly with its 128-bit vectors: there when the module was compiled for them, since a module cannot
    /// ask its machine. Those vectors have no multiply-add that rounds once on every machine, so none is used.
    #[cfg(all(target_arch = "wasm32", target_feature = "simd128"))]
    Simd128,
}

impl IsaLevel {
    /// All levels this machine can run, lowest first.
    #[must_use]
    pub fn available() -> Vec<Self> {
        #[allow(unused_mut, reason = "only some architectures add to it")]
        let mut levels = vec![Self::Scalar];
        #[cfg(target_arch = "x86_64")]
        levels.extend([Self::Avx2, Self::Avx512].into_iter().filter(|level| level.is_supported()));
        #[cfg(target_arch = "aarch64")]
        levels.push(Self::Neon);
        #[cfg(all(target_arch = "wasm32", target_feature = "simd128"))]
        levels.push(Self::Simd128);
        levels
    }

    /// The highest level this machine can run. The environment variable `ASMR_CPU` (`scalar`, `avx2`, `avx512`,
    /// `neon`, `simd128`) may lower it and never raise it; a name that is not available here is ignored.
    #[must_use]
    pub fn detect() -> Self {
        let levels = Self::available();
        let best = levels[levels.len() - 1];
        match std::env::var("ASMR_CPU") {
            Ok(name) => {
                levels.into_iter().find(|l| l.name().eq_ignore_ascii_case(name.trim())).unwrap_or(best)
            }
            Err(_) => best,
        }
    }

    /// The level's name in lower case.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Scalar => "scalar",
            #[cfg(target_arch = "x86_64")]
            Self::Avx2 => "avx2",
            #[cfg(target_arch = "x86_64")]
            Self::Avx512 => "avx512",
            #[cfg(target_arch = "aarch64")]
            Self::Neon => "neon",
            #[cfg(all(target_arch = "wasm32", target_feature = "simd128"))]
            Self::Simd128 => "simd128",
        }
    }

    /// Whether a multiply-add rounds once at this level.
    #[must_use]
    pub fn fuses(self) -> bool {
        match self {
            Self::Scalar => false,
            #[cfg(target_arch = "x86_64")]
            Self::Avx2 | Self::Avx512 => true,
            #[cfg(target_arch = "aarch64")]
            Self::Neon => true,
            #[cfg(all(target_arch = "wasm32", target_feature = "simd128"))]
            Self::Simd128 => false,
        }
    }

    /// Whether this machine has the instructions that the level's copies are compiled for. The standard library
    /// caches the answer: a load and a test per feature.
    #[cfg(target_arch = "x86_64")]
    #[inline]
    pub(crate) fn is_supported(self) -> bool {
        use std::arch::is_x86_feature_detected as has;
        let avx2 = has!("avx2") && has!("fma");
        match self {
            Self::Scalar => true,
            Self::Avx2 => avx2,
            // AVX-512 F alone (Knights Landing) lacks the shorter vectors and the integer widths.
            Self::Avx512 => {
                avx2 && has!("avx512f") && has!("avx512bw") && has!("avx512dq") && has!("avx512vl")
            }
        }
    }
}

/// `a * b + c`, rounded once when `FUSED`, twice when not.
#[inline(always)]
pub(crate) fn mul_add<const FUSED: bool>(a: f32, b: f32, c: f32) -> f32 {
    if FUSED { a.mul_add(b, c) } else { a * b + c }
}

/// Makes a public kernel from a body generic over `FUSED`: one copy per level, chosen by the first argument.
///
/// A body that is also generic over the shape of its register tile names its further constants in brackets, for
/// the levels in general, for AVX-512 and for those without wide registers: `body[6, 1; avx512: 8, 2; baseline: 2, 1](…)`.
macro_rules! kernel {
    (
        $(#[$meta:meta])*
        pub fn $name:ident = $body:ident
            $([$($tile:tt),*; avx512: $($tile512:tt),*; baseline: $($baseline:tt),*])?
            ( $($arg:ident : $ty:ty),* $(,)? ) $(-> $ret:ty)?
    ) => {
        $(#[$meta])*
        #[allow(clippy::too_many_arguments, reason = "slices and their shapes, as in BLAS")]
        pub fn $name(isa: crate::IsaLevel, $($arg: $ty),*) $(-> $ret)? {
            #[cfg(target_arch = "x86_64")]
            #[target_feature(enable = "avx2,fma")]
            #[allow(clippy::too_many_arguments, reason = "as above")]
            fn avx2($($arg: $ty),*) $(-> $ret)? {
                $body::<true $($(, $tile)*)?>($($arg),*)
            }
            #[cfg(target_arch = "x86_64")]
            #[target_feature(enable = "avx2,fma,avx512f,avx512bw,avx512dq,avx512vl")]
            #[allow(clippy::too_many_arguments, reason = "as above")]
            fn avx512($($arg: $ty),*) $(-> $ret)? {
                $body::<true $($(, $tile512)*)?>($($arg),*)
            }
            // A caller can name a level on a machine without it, so the claim is checked here.
            #[cfg(target_arch = "x86_64")]
            assert!(isa.is_supported(), "{isa:?} on a machine without its instructions");
            match isa {
                crate::IsaLevel::Scalar => $body::<false $($(, $baseline)*)?>($($arg),*),
                #[cfg(target_arch = "x86_64")]
                // SAFETY: the assertion above established that the CPU has avx2 and fma, the only features that
                // `avx2` is compiled for.
                crate::IsaLevel::Avx2 => unsafe { avx2($($arg),*) },
                #[cfg(target_arch = "x86_64")]
                // SAFETY: the assertion above established that the CPU has avx2, fma and the four parts of AVX-512
                // that `avx512` is compiled for.
                crate::IsaLevel::Avx512 => unsafe { avx512($($arg),*) },
                #[cfg(target_arch = "aarch64")]
                crate::IsaLevel::Neon => $body::<true $($(, $tile)*)?>($($arg),*),
                // The whole module is compiled for these vectors, `Scalar` as well.
                #[cfg(all(target_arch = "wasm32", target_feature = "simd128"))]
                crate::IsaLevel::Simd128 => $body::<false $($(, $baseline)*)?>($($arg),*),
            }
        }
    };
}
pub(crate) use kernel;
