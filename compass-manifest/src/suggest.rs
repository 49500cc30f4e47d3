//! Suggests a known name for a mistyped one.

/// Returns the known name that is most similar to a mistyped name.
///
/// Returns `None` if no name is similar enough: the edit distance may be at most 1 plus a fifth of
/// the known name's length, and must be less than its length.
///
/// ```
/// use compass_manifest::suggest;
///
/// assert_eq!(suggest("gpu-manger", ["gpu-manager", "log-viewer"].into_iter()), Some("gpu-manager"));
/// assert_eq!(suggest("web", ["gpu-manager"].into_iter()), None);
/// ```
pub fn suggest<'n>(name: &str, known: impl Iterator<Item = &'n str>) -> Option<&'n str> {
    known
        .map(|candidate| (distance(name, candidate), candidate))
        .filter(|(distance, candidate)| {
            let length = candidate.chars().count();
            *distance <= 1 + length / 5 && *distance < length
        })
        .min()
        .map(|(_, candidate)| candidate)
}

/// Returns the case-insensitive Levenshtein distance.
fn distance(left: &str, right: &str) -> usize {
    let right: Vec<char> = right.to_lowercase().chars().collect();
    let mut row: Vec<usize> = (0..=right.len()).collect();
    for (i, l) in left.to_lowercase().chars().enumerate() {
        let mut diagonal = std::mem::replace(&mut row[0], i + 1);
        for (j, r) in right.iter().enumerate() {
            let substituted = diagonal + usize::from(l != *r);
            diagonal = row[j + 1];
            row[j + 1] = substituted.min(row[j] + 1).min(diagonal + 1);
        }
    }
    row[right.len()]
}
