//! Instruction-set levels and how a kernel body is compiled for each.

/// Which instructions a kernel may use. Ordered: a later level includes the earlier ones of its architecture.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[non_exhaustive]
pub enum IsaLevel {
    /// The target's baseline, products and sums rounded separately: the definition the others are tested
    /// against.
    Scalar,
    /// x86-64 with AVX2 and FMA (2013 onwards).
    #[cfg(target_arch = "x86_64")]
    Avx2,
    /// `AArch64` with NEON and fused multiply-add (always present there).
    #[cfg(target_arch = "aarch64")]
    Neon,
}

impl IsaLevel {
    /// All levels this machine can run, lowest first.
    #[must_use]
    pub fn available() -> Vec<Self> {
        #[allow(unused_mut, reason = "only some architectures add to it")]
        let mut levels = vec![Self::Scalar];
        #[cfg(target_arch = "x86_64")]
        if std::arch::is_x86_feature_detected!("avx2") && std::arch::is_x86_feature_detected!("fma") {
            levels.push(Self::Avx2);
        }
        #[cfg(target_arch = "aarch64")]
        levels.push(Self::Neon);
        levels
    }

    /// The highest level this machine can run. The environment variable `ASMR_CPU` (`scalar`, `avx2`, `neon`)
    /// may lower it and never raise it; a name that is not available here is ignored.
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
            #[cfg(target_arch = "aarch64")]
            Self::Neon => "neon",
        }
    }
}

/// `a * b + c`, rounded once when `FUSED`, twice when not.
#[inline(always)]
pub(crate) fn mul_add<const FUSED: bool>(a: f32, b: f32, c: f32) -> f32 {
    if FUSED { a.mul_add(b, c) } else { a * b + c }
}

/// Makes a public kernel from a body generic over `FUSED`: one copy per level, chosen by the first argument.
macro_rules! kernel {
    ($(#[$meta:meta])* pub fn $name:ident = $body:ident ( $($arg:ident : $ty:ty),* $(,)? ) $(-> $ret:ty)?) => {
        $(#[$meta])*
        #[allow(clippy::too_many_arguments, reason = "slices and their shapes, as in BLAS")]
        pub fn $name(isa: crate::IsaLevel, $($arg: $ty),*) $(-> $ret)? {
            #[cfg(target_arch = "x86_64")]
            #[target_feature(enable = "avx2,fma")]
            #[allow(clippy::too_many_arguments, reason = "as above")]
            fn avx2($($arg: $ty),*) $(-> $ret)? {
                $body::<true>($($arg),*)
            }
            match isa {
                crate::IsaLevel::Scalar => $body::<false>($($arg),*),
                #[cfg(target_arch = "x86_64")]
                crate::IsaLevel::Avx2 => {
                    // A caller can name this level on a machine without it, so the claim is checked here (the
                    // standard library caches the answer: a load and a test per call).
                    assert!(
                        std::arch::is_x86_feature_detected!("avx2") && std::arch::is_x86_feature_detected!("fma"),
                        "IsaLevel::Avx2 on a machine without AVX2 and FMA"
                    );
                    // SAFETY: the assertion above established that the CPU has avx2 and fma, the only features
                    // that `avx2` is compiled for.
                    unsafe { avx2($($arg),*) }
                }
                #[cfg(target_arch = "aarch64")]
                crate::IsaLevel::Neon => $body::<true>($($arg),*),
            }
        }
    };
}
pub(crate) use kernel;
