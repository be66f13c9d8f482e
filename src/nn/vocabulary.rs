//! A WordPiece vocabulary from counted words.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet, HashMap};

/// What a piece that goes on inside a word begins with.
pub(super) const INSIDE: &str = "##";

/// A piece seen once tells nothing that its parts do not.
const MIN_COUNT: u64 = 2;

/// Two neighbouring symbols of a word.
type Pair = (u32, u32);

/// The pieces of a vocabulary of at most `size`, in the order in which they were found.
///
/// `counts`: words and how often each occurs. First come all characters in the order of their code
/// points, each as the beginning of a word and as `##c` inside one, so that a word of known
/// characters can always be cut. Then the most frequent pair of neighbouring pieces is joined to a
/// new piece, again and again, until there are `size` pieces or no pair is left that occurs twice.
/// Equal counts take the pair of the older pieces: the same words give the same pieces in the same
/// order. The rule is that of `tokenizers`: models/bpe/trainer.rs: do_train.
///
/// Cost: every word is cut again once for each piece that joins in it.
/// # Errors
/// The number of pieces that the characters alone need, if that is over `size`.
pub(super) fn train(counts: &BTreeMap<String, u64>, size: usize) -> Result<Vec<String>, usize> {
    let characters: BTreeSet<char> = counts.keys().flat_map(|word| word.chars()).collect();
    let mut pieces: Vec<String> = characters.iter().map(char::to_string).collect();
    pieces.extend(characters.iter().map(|c| format!("{INSIDE}{c}")));
    if pieces.len() > size {
        return Err(pieces.len());
    }
    let mut id_of: HashMap<String, u32> = pieces.iter().cloned().zip(0..).collect();
    let mut words = Words::new(counts, &id_of);
    while pieces.len() < size {
        let Some((pair, joined_words)) = words.most_frequent() else { break };
        let second = &pieces[pair.1 as usize];
        let rest = second.strip_prefix(INSIDE).unwrap_or(second);
        let text = format!("{}{rest}", pieces[pair.0 as usize]);
        let id = *id_of.entry(text.clone()).or_insert_with(|| {
            pieces.push(text);
            pieces.len() as u32 - 1
        });
        words.join(pair, id, &joined_words);
    }
    Ok(pieces)
}

/// Words as symbols, and the pairs in them.
struct Words {
    symbols: Vec<Vec<u32>>,
    counts: Vec<u64>,
    /// How often a pair occurs, and the words in which it does or did.
    pairs: HashMap<Pair, (u64, BTreeSet<usize>)>,
    queue: BTreeSet<(Reverse<u64>, Pair)>,
}

impl Words {
    fn new(counts: &BTreeMap<String, u64>, id_of: &HashMap<String, u32>) -> Self {
        let cut = |word: &String| {
            let texts = word.chars().enumerate().map(|(i, c)| match i {
                0 => c.to_string(),
                _ => format!("{INSIDE}{c}"),
            });
            texts.map(|text| id_of[&text]).collect()
        };
        let mut words = Words {
            symbols: counts.keys().map(cut).collect(),
            counts: counts.values().copied().collect(),
            pairs: HashMap::new(),
            queue: BTreeSet::new(),
        };
        let mut changes = HashMap::new();
        for word in 0..words.symbols.len() {
            words.add(word, 1, &mut changes);
        }
        words.apply(changes);
        words
    }

    /// The most frequent pair and its words.
    fn most_frequent(&self) -> Option<(Pair, Vec<usize>)> {
        let &(Reverse(count), pair) = self.queue.first()?;
        (count >= MIN_COUNT).then(|| (pair, self.pairs[&pair].1.iter().copied().collect()))
    }

    /// Puts `id` in the place of `pair`.
    fn join(&mut self, pair: Pair, id: u32, joined_words: &[usize]) {
        let mut changes = HashMap::new();
        for &word in joined_words {
            self.add(word, -1, &mut changes);
            let old = std::mem::take(&mut self.symbols[word]);
            let mut new = Vec::with_capacity(old.len());
            let mut at = 0;
            while at < old.len() {
                let is_pair = at + 1 < old.len() && (old[at], old[at + 1]) == pair;
                new.push(if is_pair { id } else { old[at] });
                at += if is_pair { 2 } else { 1 };
            }
            self.symbols[word] = new;
            self.add(word, 1, &mut changes);
        }
        self.apply(changes);
    }

    /// Notes a word's pairs, `sign` times its count each.
    fn add(&mut self, word: usize, sign: i64, changes: &mut HashMap<Pair, i64>) {
        let count = sign * self.counts[word] as i64;
        for pair in self.symbols[word].windows(2).map(|two| (two[0], two[1])) {
            *changes.entry(pair).or_default() += count;
            if sign > 0 {
                self.pairs.entry(pair).or_default().1.insert(word);
            }
        }
    }

    fn apply(&mut self, changes: HashMap<Pair, i64>) {
        for (pair, change) in changes {
            let entry = self.pairs.entry(pair).or_default();
            self.queue.remove(&(Reverse(entry.0), pair));
            entry.0 = entry.0.saturating_add_signed(change);
            if entry.0 == 0 {
                self.pairs.remove(&pair);
            } else {
                self.queue.insert((Reverse(entry.0), pair));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn counted(words: &[(&str, u64)]) -> BTreeMap<String, u64> {
        words.iter().map(|&(word, n)| (word.to_owned(), n)).collect()
    }

    /// The same rule without any bookkeeping: every pair is counted again for each piece.
    fn naive(counts: &BTreeMap<String, u64>, size: usize) -> Vec<String> {
        let characters: BTreeSet<char> = counts.keys().flat_map(|w| w.chars()).collect();
        let mut pieces: Vec<String> = characters.iter().map(char::to_string).collect();
        pieces.extend(characters.iter().map(|c| format!("##{c}")));
        let first = |i: usize, c: char| if i == 0 { c.to_string() } else { format!("##{c}") };
        let mut words: Vec<(Vec<String>, u64)> = counts
            .iter()
            .map(|(w, &n)| (w.chars().enumerate().map(|(i, c)| first(i, c)).collect(), n))
            .collect();
        while pieces.len() < size {
            let rank = |piece: &String| pieces.iter().position(|p| p == piece).unwrap();
            let mut found: HashMap<(usize, usize), u64> = HashMap::new();
            for (word, n) in &words {
                for two in word.windows(2) {
                    *found.entry((rank(&two[0]), rank(&two[1]))).or_default() += n;
                }
            }
            let best = found.into_iter().max_by_key(|&(pair, n)| (n, Reverse(pair)));
            let Some(((a, b), _)) = best.filter(|&(_, n)| n >= 2) else { break };
            let (a, b) = (pieces[a].clone(), pieces[b].clone());
            let joined = format!("{a}{}", b.trim_start_matches("##"));
            for (word, _) in &mut words {
                let mut at = 0;
                while at + 1 < word.len() {
                    if word[at] == a && word[at + 1] == b {
                        word.splice(at..at + 2, [joined.clone()]);
                    }
                    at += 1;
                }
            }
            if !pieces.contains(&joined) {
                pieces.push(joined);
            }
        }
        pieces
    }

    #[test]
    fn the_most_frequent_neighbours_are_joined_first() {
        let counts = counted(&[("hug", 10), ("pug", 5), ("pun", 12), ("bun", 4), ("hugs", 5)]);
        let pieces = train(&counts, 19).unwrap();
        assert_eq!(pieces[..14].join(" "), "b g h n p s u ##b ##g ##h ##n ##p ##s ##u");
        // ##u ##g occurs 20 times, ##u ##n 16, h ##ug 15, p ##un 12; p ##ug 5, as hug ##s does.
        assert_eq!(pieces[14..].join(" "), "##ug ##un hug pun pug");
    }

    #[test]
    fn pieces_are_those_of_counting_again_each_time_whatever_the_order_of_a_hash() {
        // Few letters, many repeats, equal counts, pieces that arise in two ways.
        let mut counts = BTreeMap::new();
        let mut state = 7u64;
        for _ in 0..300 {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695);
            let length = 1 + (state >> 60) as usize % 9;
            let word = (0..length).map(|i| char::from(b'a' + (state >> (7 * i + 3)) as u8 % 3));
            *counts.entry(word.collect::<String>()).or_default() += 1 + (state >> 40) % 4;
        }
        let wanted = naive(&counts, 150);
        assert_eq!(wanted.len(), 150);
        for _ in 0..5 {
            assert_eq!(train(&counts, 150).unwrap(), wanted);
        }
    }

    #[test]
    fn joining_ends_when_nothing_occurs_twice_and_characters_must_fit() {
        let counts = counted(&[("ab", 1), ("c", 9)]);
        assert_eq!(train(&counts, 100).unwrap().join(" "), "a b c ##a ##b ##c");
        assert_eq!(train(&counts, 5).unwrap_err(), 6);
        assert!(train(&BTreeMap::new(), 5).unwrap().is_empty());
    }
}
