//! What cards there are.

use super::launch::{Card, CardInfo, check_libraries, n_cards};

/// Every card that the driver shows; a sentence where there is no driver, no cuBLAS or no card.
pub fn list() -> Result<Vec<CardInfo>, String> {
    check_libraries()?;
    match n_cards()? {
        0 => Err("the NVIDIA driver shows no card".into()),
        n => Ok((0..n).map(Card::info).collect()),
    }
}

/// The cards that `--device cuda:…` names, or of all of them the first that can be used; a sentence
/// if one cannot.
pub fn choose(wanted: Option<&[usize]>) -> Result<Vec<CardInfo>, String> {
    let cards = list()?;
    let usable = |info: &CardInfo| match &info.problem {
        None => Ok(info.clone()),
        Some(problem) => Err(format!("{}: {problem}", info.name)),
    };
    let Some(wanted) = wanted else {
        let mut first = None;
        for info in &cards {
            match usable(info) {
                Ok(info) => return Ok(vec![info]),
                Err(problem) => first = first.or(Some(problem)),
            }
        }
        return Err(first.unwrap_or_else(|| "no card".into()));
    };
    wanted
        .iter()
        .map(|&ordinal| match cards.get(ordinal) {
            Some(info) => usable(info),
            None => Err(format!("there is no card {ordinal}; the driver shows {}", cards.len())),
        })
        .collect()
}
