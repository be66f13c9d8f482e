//! f32 products on the tile units of AMX, which multiply bf16.
//!
//! An f32 is the exact sum of three bf16, x = x₁ + x₂ + x₃: its 24 bits in three times eight. So
//! ```text
//! x·y = x₁y₁ + x₁y₂ + x₂y₁ + x₂y₂ + x₁y₃ + x₃y₁  + at most 2⁻²⁴·|x·y| or so
//! ```
//! which is a product as good as f32's own, for six products of a unit that is about ten times as
//! fast; [`Digits`] has cheaper ones. The units add up in f32, rounding to
//! nearest; subnormal parts count as zero. Splitting is cheap against a product with many rows.
//! [Intel 64 and IA-32 SDM, vol. 2: TDPBF16PS, TILELOADD, LDTILECFG.]
//!
//! The one place of this program with machine instructions of its own: std has none of these yet.

use std::sync::OnceLock;

use crate::product::vectorized::vectorized;

/// Rows, columns and depth of the smallest product: two tiles by two.
pub const SIDE: usize = 32;

/// 16 rows of 16 pairs of bf16.
///
/// Left factors: a row is a row of the matrix, pairs follow its columns. Right factors: a row is a
/// pair of rows of the matrix, element by element.
#[derive(Debug, Clone, Copy, PartialEq)]
#[repr(C, align(64))]
pub struct Tile([u32; 256]);

/// 32 × 32 numbers in their three parts: the largest parts first, two tiles each. A left factor's
/// tiles are its upper and lower 16 rows, a right factor's its left and right 16 columns.
pub type Chunk = [Tile; 6];

/// A chunk of zeros.
pub const ZEROS: Chunk = [Tile([0; 256]); 6];

/// How many binary digits of the factors take part.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Digits {
    /// All 24: six products, as good as f32 term by term.
    All,
    /// 24 of the left factor, 16 of the right: four products; x₂y₂ and x·y₃ are left out. Each term
    /// is off by 2e-6 rms; where the right factor's last digits know nothing of the left factor,
    /// what is off averages out: over n terms 2e-6/√n of |x|·|y|.
    Left,
    /// Sixteen of both: three products, each term off by 2.6e-6 rms.
    Sixteen,
}

impl Digits {
    /// Those that sums of so many terms need. The border is a measured one: with four products for
    /// XᵀY of 3,000 rows CV scores were 5e-6 off f64 (1e-6 with six); what is off falls with the
    /// square root of the rows (docs/performance.md, "Tile units").
    pub fn of_terms(n: usize) -> Self {
        const ENOUGH: usize = 20_000;
        if n < ENOUGH { Self::All } else { Self::Left }
    }
}

/// Whether this machine has the units and the system lets this process use them.
/// `VOXELCAST_AMX=0` in the environment says no.
pub fn is_available() -> bool {
    static ANSWER: OnceLock<bool> = OnceLock::new();
    *ANSWER.get_or_init(|| {
        std::env::var_os("VOXELCAST_AMX").is_none_or(|wanted| wanted != "0") && unit::request()
    })
}

/// Rounds to the nearest bf16, ties to even.
#[inline(always)]
fn to_bf16(x: f32) -> u32 {
    let bits = x.to_bits();
    bits.wrapping_add(0x7fff + ((bits >> 16) & 1)) & 0xffff_0000
}

/// Pairs of numbers in every part, N pairs at a time.
#[inline(always)]
fn pairs<const N: usize>(even: &[f32; N], odd: &[f32; N]) -> [[u32; N]; 3] {
    let (mut even, mut odd) = (*even, *odd);
    let mut out = [[0; N]; 3];
    for out in &mut out {
        for v in 0..N {
            let (low, high) = (to_bf16(even[v]), to_bf16(odd[v]));
            out[v] = low >> 16 | high;
            even[v] -= f32::from_bits(low);
            odd[v] -= f32::from_bits(high);
        }
    }
    out
}

/// The left factor whose cell (row, column) is `value(row, column)`.
pub fn left_chunk(mut value: impl FnMut(usize, usize) -> f32) -> Chunk {
    let mut chunk = ZEROS;
    for row in 0..SIDE {
        for k in 0..SIDE / 2 {
            let words = pairs(&[value(row, 2 * k)], &[value(row, 2 * k + 1)]);
            for (part, [word]) in words.into_iter().enumerate() {
                chunk[2 * part + row / 16].0[row % 16 * 16 + k] = word;
            }
        }
    }
    chunk
}

/// The left factor whose columns are `column(0)`, `column(1)`, ….
#[inline(always)]
pub fn left_from_columns(column: impl Fn(usize) -> [f32; SIDE], chunk: &mut Chunk) {
    for k in 0..SIDE / 2 {
        for (part, words) in pairs(&column(2 * k), &column(2 * k + 1)).iter().enumerate() {
            for (tile, words) in words.as_chunks::<16>().0.iter().enumerate() {
                let tile = &mut chunk[2 * part + tile].0;
                for (row, &word) in words.iter().enumerate() {
                    tile[row * 16 + k] = word;
                }
            }
        }
    }
}

/// The left factor whose rows are `row(0)`, `row(1)`, ….
#[inline(always)]
pub fn left_from_rows(row: impl Fn(usize) -> [f32; SIDE], chunk: &mut Chunk) {
    for i in 0..SIDE {
        let row = row(i);
        let even: [f32; SIDE / 2] = std::array::from_fn(|k| row[2 * k]);
        let odd: [f32; SIDE / 2] = std::array::from_fn(|k| row[2 * k + 1]);
        for (part, words) in pairs(&even, &odd).iter().enumerate() {
            chunk[2 * part + i / 16].0[i % 16 * 16..][..16].copy_from_slice(words);
        }
    }
}

/// One cell of a left factor: its parts' sum, which is the f32 that it was made of.
pub fn left_value(chunk: &Chunk, row: usize, column: usize) -> f32 {
    let part = |i: usize| {
        let word = chunk[2 * i + row / 16].0[row % 16 * 16 + column / 2];
        f32::from_bits(if column.is_multiple_of(2) { word << 16 } else { word & 0xffff_0000 })
    };
    part(0) + (part(1) + part(2))
}

vectorized! {
    /// Rows of 32 numbers as a right factor; the first of `rows` is row `first` of the first chunk,
    /// and what is before it or behind the last is zero.
    pub fn split_rows<'a>(rows: &'a [[f32; SIDE]], first: usize, chunks: &'a mut [Chunk]) {
        const NONE: [f32; SIDE] = [0.0; SIDE];
        let row = |i: usize| i.checked_sub(first).and_then(|i| rows.get(i)).unwrap_or(&NONE);
        for (c, chunk) in chunks.iter_mut().enumerate() {
            for k in 0..SIDE / 2 {
                let (even, odd) = (row(c * SIDE + 2 * k), row(c * SIDE + 2 * k + 1));
                let halves = even.as_chunks::<16>().0.iter().zip(odd.as_chunks::<16>().0);
                for (half, (even, odd)) in halves.enumerate() {
                    for (part, words) in pairs(even, odd).iter().enumerate() {
                        chunk[2 * part + half].0[k * 16..(k + 1) * 16].copy_from_slice(words);
                    }
                }
            }
        }
    }
}

pub use unit::Unit;

#[cfg(all(target_arch = "x86_64", target_os = "linux"))]
mod unit {
    #![allow(unsafe_code)]

    use std::arch::asm;
    use std::arch::x86_64::__cpuid_count;
    use std::cell::Cell;
    use std::marker::PhantomData;

    use super::{Chunk, Digits, SIDE, is_available};

    /// Leaf 7 of CPUID, EDX: tiles, and products of bf16.
    const TILE_AND_BF16: u32 = 1 << 24 | 1 << 22;
    /// Leaf 1 of CPUID, ECX: the system saves extended registers.
    const OSXSAVE: u32 = 1 << 27;
    /// Asks Linux for the use of a part of the registers, and which: the tiles' contents.
    const ARCH_REQ_XCOMP_PERM: libc::c_long = 0x1023;
    const XFEATURE_XTILEDATA: libc::c_long = 18;

    /// Asks the processor and the system.
    pub fn request() -> bool {
        let has = __cpuid_count(0, 0).eax >= 7
            && __cpuid_count(1, 0).ecx & OSXSAVE != 0
            && __cpuid_count(7, 0).edx & TILE_AND_BF16 == TILE_AND_BF16;
        // SAFETY: arch_prctl(ARCH_REQ_XCOMP_PERM, feature) takes two numbers and touches no memory
        // of this process; where Linux does not know it, it returns an error.
        has && unsafe {
            libc::syscall(libc::SYS_arch_prctl, ARCH_REQ_XCOMP_PERM, XFEATURE_XTILEDATA) == 0
        }
    }

    /// Eight tiles of 16 rows of 64 bytes.
    #[repr(C, align(64))]
    struct Config([u8; 64]);

    static CONFIG: Config = {
        let mut bytes = [0; 64];
        bytes[0] = 1;
        let mut tile = 0;
        while tile < 8 {
            bytes[16 + 2 * tile] = 64;
            bytes[48 + tile] = 16;
            tile += 1;
        }
        Config(bytes)
    };

    thread_local! {
        /// `Unit`s of this thread.
        static N_UNITS: Cell<usize> = const { Cell::new(0) };
    }

    /// The tile registers of this thread, set up. The last `Unit` of a thread that goes releases
    /// them, so that a function may take one whether or not its caller has one.
    #[derive(Debug)]
    pub struct Unit {
        /// Registers belong to a thread.
        _not_send: PhantomData<*const ()>,
    }

    impl Drop for Unit {
        fn drop(&mut self) {
            N_UNITS.set(N_UNITS.get() - 1);
            if N_UNITS.get() == 0 {
                // SAFETY: a `Unit` existed, so the instruction does; it touches tile registers
                // alone, which nothing but this module uses, and no `Unit` of this thread is left.
                unsafe { asm!("tilerelease", options(nomem, nostack)) }
            }
        }
    }

    /// A pair of tiles of a chunk into registers 4, 5 (left) or 6, 7 (right); `$part` in bytes.
    #[rustfmt::skip]
    macro_rules! load {
        (left, $part:literal) => {
            concat!("tileloadd tmm4, [{left} + {line}*1 + ", $part, "]\n",
                    "tileloadd tmm5, [{left} + {line}*1 + ", $part, " + 1024]\n")
        };
        (right, $part:literal) => {
            concat!("tileloadd tmm6, [{right} + {line}*1 + ", $part, "]\n",
                    "tileloadd tmm7, [{right} + {line}*1 + ", $part, " + 1024]\n")
        };
    }

    /// The four tiles of sums += left pair times right pair.
    #[rustfmt::skip]
    macro_rules! multiply {
        () => {
            concat!("tdpbf16ps tmm0, tmm4, tmm6\n", "tdpbf16ps tmm1, tmm4, tmm7\n",
                    "tdpbf16ps tmm2, tmm5, tmm6\n", "tdpbf16ps tmm3, tmm5, tmm7\n")
        };
    }

    /// One chunk's products but for that of the largest parts, the smallest first.
    #[rustfmt::skip]
    macro_rules! five_products {
        () => {
            concat!(load!(left, "0"), load!(right, "4096"), multiply!(),
                    load!(right, "2048"), multiply!(),
                    load!(left, "2048"), multiply!(),
                    load!(right, "0"), multiply!(),
                    load!(left, "4096"), multiply!())
        };
    }
    #[rustfmt::skip]
    macro_rules! three_products {
        () => {
            concat!(load!(left, "4096"), load!(right, "0"), multiply!(),
                    load!(left, "2048"), multiply!(),
                    load!(left, "0"), load!(right, "2048"), multiply!())
        };
    }
    #[rustfmt::skip]
    macro_rules! two_products {
        () => {
            concat!(load!(left, "2048"), load!(right, "0"), multiply!(),
                    load!(left, "0"), load!(right, "2048"), multiply!())
        };
    }
    /// That of the largest parts.
    #[rustfmt::skip]
    macro_rules! last_product {
        () => { concat!(load!(left, "0"), load!(right, "0"), multiply!()) };
    }

    /// 32 × 32 sums over chunks: first `$small` of every chunk, then the products of the largest
    /// parts, so that small terms meet small sums and only the last products round like f32's own.
    macro_rules! product {
        ($left:ident, $right:ident, $out:ident, $stride:ident, $add:ident, $small:expr) => {
            asm!(
                "test {add}, {add}",
                "jz 3f",
                "tileloadd tmm0, [{low} + {row}*1]",
                "tileloadd tmm1, [{low} + {row}*1 + 64]",
                "tileloadd tmm2, [{high} + {row}*1]",
                "tileloadd tmm3, [{high} + {row}*1 + 64]",
                "jmp 4f",
                "3:",
                "tilezero tmm0",
                "tilezero tmm1",
                "tilezero tmm2",
                "tilezero tmm3",
                "4:",
                "test {bytes}, {bytes}",
                "jz 5f",
                "mov {end}, {left}",
                "add {end}, {bytes}",
                "2:",
                $small,
                "add {left}, 6144",
                "add {right}, 6144",
                "cmp {left}, {end}",
                "jne 2b",
                "sub {left}, {bytes}",
                "sub {right}, {bytes}",
                "6:",
                last_product!(),
                "add {left}, 6144",
                "add {right}, 6144",
                "cmp {left}, {end}",
                "jne 6b",
                "5:",
                "tilestored [{low} + {row}*1], tmm0",
                "tilestored [{low} + {row}*1 + 64], tmm1",
                "tilestored [{high} + {row}*1], tmm2",
                "tilestored [{high} + {row}*1 + 64], tmm3",
                left = inout(reg) $left.as_ptr() => _,
                right = inout(reg) $right.as_ptr() => _,
                bytes = in(reg) size_of_val($left),
                end = out(reg) _,
                low = in(reg) $out.as_mut_ptr(),
                high = in(reg) $out[16 * $stride..].as_mut_ptr(),
                row = in(reg) $stride * size_of::<f32>(),
                line = in(reg) 64_usize,
                add = in(reg) usize::from($add),
                out("tmm0") _, out("tmm1") _, out("tmm2") _, out("tmm3") _,
                out("tmm4") _, out("tmm5") _, out("tmm6") _, out("tmm7") _,
                options(nostack),
            )
        };
    }

    impl Unit {
        /// Sets up the registers of this thread.
        /// # Panics
        /// Where [`is_available`] says no.
        #[allow(clippy::new_without_default)] // it may panic
        pub fn new() -> Self {
            assert!(is_available(), "there are no tile units to set up");
            if N_UNITS.get() == 0 {
                // SAFETY: the units are there and the system lets us use them, as just asserted;
                // the 64 bytes of the configuration are static and describe palette 1 as
                // documented.
                unsafe { asm!("ldtilecfg [{}]", in(reg) &raw const CONFIG, options(nostack)) }
            }
            N_UNITS.set(N_UNITS.get() + 1);
            Self { _not_send: PhantomData }
        }

        /// `out` (32 rows of 32, `stride` apart) = or += Σ over chunks of left · right.
        ///
        /// # Panics
        /// If the factors differ in length or `out` is too short.
        pub fn multiply(
            &self,
            left: &[Chunk],
            right: &[Chunk],
            digits: Digits,
            (out, stride): (&mut [f32], usize),
            add: bool,
        ) {
            assert_eq!(left.len(), right.len(), "chunks of both factors");
            assert!(stride >= SIDE && out.len() >= (SIDE - 1) * stride + SIDE, "room for 32 rows");
            // SAFETY: this thread has a `Unit`, so the instructions exist and its tiles are set up,
            // with 16 rows of 64 bytes each: they are released with its last `Unit` only.
            // `left` and `right` have as many chunks of six tiles of 1,024 bytes, `bytes` in all;
            // two loops read one of each in every round, from the first to the last. The four tiles
            // at `low` and `high` are rows 0–15 and 16–31 of 32 floats, `row` bytes apart: inside
            // `out`, as asserted, which nobody else has (`&mut`). No other register or memory is
            // written.
            unsafe {
                match digits {
                    Digits::All => product!(left, right, out, stride, add, five_products!()),
                    Digits::Left => product!(left, right, out, stride, add, three_products!()),
                    Digits::Sixteen => product!(left, right, out, stride, add, two_products!()),
                }
            }
        }
    }
}

#[cfg(not(all(target_arch = "x86_64", target_os = "linux")))]
mod unit {
    use super::{Chunk, Digits};

    /// There are no such units here.
    pub fn request() -> bool {
        false
    }

    /// Cannot be made here.
    #[derive(Debug)]
    pub struct Unit(());

    impl Unit {
        /// # Panics
        /// Always.
        #[allow(clippy::new_without_default)]
        pub fn new() -> Self {
            unreachable!("there are no tile units here")
        }

        /// Never called: there is no `Unit`.
        pub fn multiply(
            &self,
            _: &[Chunk],
            _: &[Chunk],
            _: Digits,
            _: (&mut [f32], usize),
            _: bool,
        ) {
        }
    }
}

#[cfg(test)]
mod tests {
    use pulp::Arch;

    use super::*;

    fn noise(i: usize) -> f32 {
        // A spread of sizes and all mantissa bits in use.
        let x = (i as f32 * 12.9898).sin() * 43_758.547;
        (x - x.floor() - 0.5) * [1.0, 0.01, 300.0][i % 3]
    }

    #[test]
    fn three_parts_are_the_number() {
        let mut chunk = left_chunk(|i, k| noise(i * SIDE + k));
        let value = |chunk: &Chunk, i: usize, k: usize| left_value(chunk, i, k);
        assert!((0..1024).all(|n| value(&chunk, n / SIDE, n % SIDE) == noise(n)));
        let column = |k| std::array::from_fn(|i| noise(i * SIDE + k));
        let by_rows = std::mem::replace(&mut chunk, ZEROS);
        left_from_columns(column, &mut chunk);
        assert_eq!(chunk, by_rows);
        for x in [0.0, -0.0, 1.0, f32::MIN_POSITIVE, 3.0e38, -1.0 / 3.0] {
            let sum: f32 =
                pairs(&[0.0], &[x]).map(|[word]| f32::from_bits(word)).iter().rev().sum();
            assert_eq!(sum, x);
        }
    }

    #[test]
    fn products_are_as_good_as_their_digits() {
        if !is_available() {
            eprintln!("SKIPPED: products of tile units: this machine has no tile units");
            return;
        }
        let unit = Unit::new();
        for n in [0, 1, 2, 5] {
            let depth = n * SIDE;
            let a = |i: usize, k: usize| noise(i * 977 + k);
            let b = |k: usize, v: usize| noise(k * 31 + v + 7);
            let left: Vec<Chunk> = (0..n).map(|c| left_chunk(|i, k| a(i, c * SIDE + k))).collect();
            let rows: Vec<[f32; SIDE]> =
                (0..depth).map(|k| std::array::from_fn(|v| b(k, v))).collect();
            let mut right = vec![ZEROS; n];
            split_rows(Arch::new(), &rows, 0, &mut right);
            // Root mean squares over cells of what is off, over √Σ(x·y)².
            for (digits, least, most) in [
                (Digits::All, 0.0, 3e-7),
                (Digits::Left, 1e-6, 3e-6),
                (Digits::Sixteen, 1.5e-6, 4e-6),
            ] {
                for (stride, add) in [(SIDE, false), (45, true)] {
                    let mut out = vec![0.5; 31 * stride + SIDE];
                    unit.multiply(&left, &right, digits, (&mut out, stride), add);
                    let mut squares = 0.0;
                    for (i, v) in (0..SIDE * SIDE).map(|cell| (cell / SIDE, cell % SIDE)) {
                        let product = |k: usize| f64::from(a(i, k)) * f64::from(b(k, v));
                        let exact: f64 = (0..depth).map(product).sum();
                        let size: f64 = (0..depth).map(|k| product(k).powi(2)).sum();
                        let off = f64::from(out[i * stride + v]) - f64::from(u8::from(add)) / 2.0;
                        squares += ((off - exact) / size.sqrt().max(1e-30)).powi(2);
                    }
                    let rms = (squares / 1024.0).sqrt();
                    assert!(n == 0 || (least..=most).contains(&rms), "{digits:?}: {rms:e}");
                    assert!(n > 0 || squares == 0.0, "no terms, no sum");
                    if stride > SIDE {
                        assert_eq!(out[SIDE], 0.5, "between the rows");
                    }
                }
            }
        }
    }

    #[test]
    fn a_unit_outlives_one_made_inside_of_it() {
        if !is_available() {
            eprintln!("SKIPPED: nested tile units: this machine has no tile units");
            return;
        }
        let left = [left_chunk(|i, k| f32::from(u8::from(i == k)))];
        let mut right = vec![ZEROS];
        split_rows(Arch::new(), &[[3.0; SIDE]; SIDE], 0, &mut right);
        let product = |unit: &Unit| {
            let mut out = vec![0.0; SIDE * SIDE];
            unit.multiply(&left, &right, Digits::All, (&mut out, SIDE), false);
            out
        };
        let outer = Unit::new();
        let inner = product(&Unit::new());
        // The inner one is gone: without tiles this would be an illegal instruction.
        assert_eq!(product(&outer), inner);
        assert_eq!(inner, vec![3.0; SIDE * SIDE]);
        drop(outer);
        assert_eq!(product(&Unit::new()), inner);
    }

    #[test]
    fn rows_outside_are_zero() {
        let rows = vec![[1.0; SIDE]; 3];
        let (mut shifted, mut padded) = (vec![ZEROS; 2], vec![ZEROS; 2]);
        split_rows(Arch::new(), &rows, 31, &mut shifted);
        let mut all = vec![[0.0; SIDE]; 64];
        all[31..34].fill([1.0; SIDE]);
        split_rows(Arch::new(), &all, 0, &mut padded);
        assert_eq!(shifted, padded);
    }
}
