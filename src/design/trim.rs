//! TRs cut at the head and the tail of a story.

use std::fmt;
use std::ops::Range;
use std::str::FromStr;

use crate::error::{Error, Result};

/// TRs cut at the head and the tail of a story's features, so that they match its BOLD.
///
/// Written `head:tail`; `10:5` is what HuthLab's code cuts, and the default. `5:10` (`lab`) is
/// what the lab's handout writes: as many rows, 5 TRs earlier.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Trim {
    /// TRs cut at the start.
    pub head: usize,
    /// TRs cut at the end.
    pub tail: usize,
}

impl Trim {
    /// HuthLab's trim, `10:5`.
    pub const HUTH: Trim = Trim { head: 10, tail: 5 };
    /// The lab handout's trim, `5:10`.
    pub const LAB: Trim = Trim { head: 5, tail: 10 };
    /// Nothing is cut.
    pub const NONE: Trim = Trim { head: 0, tail: 0 };

    /// TRs cut in all.
    pub fn n_cut(self) -> usize {
        self.head.saturating_add(self.tail)
    }

    /// The rows of a story of `n_trs` TRs that are kept.
    ///
    /// # Errors
    /// `Error::NothingLeft` if that is not at least one.
    pub fn kept(self, n_trs: usize) -> Result<Range<usize>> {
        let n_cut = self.n_cut();
        if n_trs <= n_cut {
            return Err(Error::NothingLeft { n_trs, n_cut, trim: self.to_string() });
        }
        Ok(self.head..n_trs - self.tail)
    }
}

impl Default for Trim {
    fn default() -> Self {
        Trim::HUTH
    }
}

impl fmt::Display for Trim {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.head, self.tail)
    }
}

impl FromStr for Trim {
    type Err = Error;

    /// `"10:5"`, the slice notation `"10:-5"` of the same, or a preset: `"lab"` (`5:10`), `"huth"`.
    fn from_str(text: &str) -> Result<Self> {
        match text {
            "lab" => return Ok(Trim::LAB),
            "huth" => return Ok(Trim::HUTH),
            _ => {}
        }
        let parts = text.split_once(':').map(|(head, tail)| {
            let tail = tail.trim();
            (head.trim().parse(), tail.strip_prefix('-').unwrap_or(tail).parse())
        });
        match parts {
            Some((Ok(head), Ok(tail))) => Ok(Trim { head, tail }),
            _ => Err(Error::Usage {
                place: "trim".to_owned(),
                problem: format!("expected head:tail in TRs, \"lab\" or \"huth\", got {text:?}"),
                hint: "write 10:5 to cut 10 TRs at the start and 5 at the end".to_owned(),
            }),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_default_is_huth_and_lab_is_its_mirror() {
        assert_eq!(Trim::default(), "10:5".parse().unwrap());
        assert_eq!("lab".parse::<Trim>().unwrap(), Trim { head: 5, tail: 10 });
        assert_eq!("10:-5".parse::<Trim>().unwrap(), Trim::HUTH);
        assert_eq!("huth".parse::<Trim>().unwrap(), Trim::HUTH);
        assert_eq!(" 3 : 0 ".parse::<Trim>().unwrap(), Trim { head: 3, tail: 0 });
    }

    #[test]
    fn what_is_no_trim_is_a_usage_error() {
        for text in
            ["", "10", "10:", ":5", "a:b", "1:2:3", "-10:5", "1.5:2", "Lab", "9e9:1", "10:--5"]
        {
            let error = text.parse::<Trim>().unwrap_err();
            assert_eq!(error.exit_code(), 2, "{text:?}");
            assert!(error.to_string().contains(&format!("{text:?}")), "{error}");
        }
    }

    #[test]
    fn head_and_tail_each_change_what_is_kept() {
        assert_eq!(Trim::HUTH.kept(172).unwrap(), 10..167);
        assert_eq!(Trim::LAB.kept(172).unwrap(), 5..162);
        assert_eq!(Trim::NONE.kept(1).unwrap(), 0..1);
        assert_eq!(Trim::HUTH.kept(16).unwrap(), 10..11);
    }

    #[test]
    fn a_trim_that_leaves_nothing_is_a_data_error() {
        let endless = Trim { head: usize::MAX, tail: 1 };
        for (trim, n_trs) in [(Trim::HUTH, 15), (Trim::HUTH, 0), (Trim::NONE, 0), (endless, 9)] {
            let error = trim.kept(n_trs).unwrap_err();
            assert_eq!(error.exit_code(), 3);
            let expected = format!("trim {trim} leaves nothing of {n_trs} TRs");
            assert!(error.to_string().starts_with(&expected), "{error}");
        }
    }

    proptest! {
        #[test]
        fn what_is_displayed_reads_back(head: usize, tail: usize) {
            let trim = Trim { head, tail };
            prop_assert_eq!(trim.to_string().parse::<Trim>().unwrap(), trim);
        }
    }
}
