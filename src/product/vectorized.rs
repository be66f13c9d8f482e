//! Loops compiled for each instruction set.

/// A function whose body runs with the widest vectors that this processor has; its first argument is
/// the `Arch` that knows.
///
/// For loops over lanes that the compiler turns into vectors by itself. A closure given to
/// `Arch::dispatch` would not do: it is a function of its own, and one that is too long to be inlined
/// is compiled for SSE2 alone. What the body calls must be `#[inline(always)]` too.
macro_rules! vectorized {
    (
        $(#[$meta:meta])*
        $vis:vis fn $name:ident<$($life:lifetime),+>($($arg:ident: $type:ty),+ $(,)?) $(-> $out:ty)?
        $body:block
    ) => {
        $(#[$meta])*
        $vis fn $name<$($life),+>(arch: pulp::Arch, $($arg: $type),+) $(-> $out)? {
            struct Run<$($life),+> { $($arg: $type),+ }
            impl<$($life),+> pulp::NullaryFnOnce for Run<$($life),+> {
                type Output = vectorized!(@out $($out)?);
                #[inline(always)]
                fn call(self) -> Self::Output {
                    let Self { $($arg),+ } = self;
                    $body
                }
            }
            arch.dispatch(Run { $($arg),+ })
        }
    };
    (@out) => { () };
    (@out $out:ty) => { $out };
}
pub(crate) use vectorized;
