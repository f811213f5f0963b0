//! The labelled lines that a text is nearest to, as the intent head sees it: what the models learned this from,
//! or from something like it.

use super::error::UnderstandingError;
use super::model::unit;
use super::read::Understanding;
use crate::base::{Digest, Language, durable};
use serde::{Deserialize, Serialize};
use std::path::Path;

/// A line of training.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Labelled {
    pub leaf: String,
    pub language: Language,
    pub text: String,
}

/// One of the lines nearest to a text.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Near {
    pub leaf: String,
    pub text: String,
    /// Cosine of the two mean vectors, -1 to 1.
    pub similarity: f64,
}

/// Lines and their vectors under one bundle.
pub struct Nearest {
    /// Of bundle and lines.
    key: Digest,
    model: Digest,
    lines: Vec<Labelled>,
    /// Length 1 each.
    vectors: Vec<Vec<f32>>,
}

impl Nearest {
    /// Reads every line, unless `cache` holds what came of just these lines and this bundle. Takes minutes for
    /// ten thousand lines, which `threads` share.
    pub fn of(
        models: &Understanding,
        lines: Vec<Labelled>,
        cache: &Path,
        threads: usize,
    ) -> Result<Self, UnderstandingError> {
        let texts = lines.iter().map(|line| format!("{} {} {}", line.leaf, line.language, line.text));
        let texts: Vec<String> = texts.chain([models.digest().to_string()]).collect();
        let key = Digest::of_parts(texts.iter().map(String::as_bytes).collect::<Vec<_>>());
        let model = models.digest().clone();
        if let Some(vectors) = cached(cache, &key, lines.len()) {
            return Ok(Self { key, model, lines, vectors });
        }
        let texts: Vec<&str> = lines.iter().map(|line| line.text.as_str()).collect();
        let vectors = means(models, &texts, threads)?;
        let done = Self { key, model, lines, vectors };
        done.save(cache).map_err(|error| UnderstandingError::Bundle {
            file: cache.to_owned(),
            problem: error.to_string(),
            remedy: "name a state directory that can be written",
        })?;
        Ok(done)
    }

    pub fn model(&self) -> &Digest {
        &self.model
    }

    /// The nearest lines, the nearest first; at most one of each text.
    pub fn find(
        &self,
        models: &Understanding,
        text: &str,
        most: usize,
    ) -> Result<Vec<Near>, UnderstandingError> {
        let Some(own) = means(models, &[text], 1)?.pop() else { return Ok(Vec::new()) };
        let similarity = |vector: &[f32]| own.iter().zip(vector).map(|(a, b)| f64::from(a * b)).sum::<f64>();
        let mut found: Vec<(f64, &Labelled)> =
            self.vectors.iter().map(|vector| similarity(vector)).zip(&self.lines).collect();
        found.sort_by(|a, b| b.0.total_cmp(&a.0).then(a.1.text.cmp(&b.1.text)));
        found.dedup_by(|a, b| a.1.text == b.1.text);
        let near = |(similarity, line): (f64, &Labelled)| Near {
            leaf: line.leaf.clone(),
            text: line.text.clone(),
            similarity: (similarity * 10_000.0).round() / 10_000.0,
        };
        Ok(found.into_iter().take(most).map(near).collect())
    }

    /// The key, then the vectors as 32-bit floats, little-endian.
    fn save(&self, cache: &Path) -> std::io::Result<()> {
        let mut bytes = self.key.as_str().as_bytes().to_vec();
        self.vectors.iter().flatten().for_each(|value| bytes.extend_from_slice(&value.to_le_bytes()));
        if let Some(folder) = cache.parent() {
            durable::private(folder)?;
        }
        durable::replace(cache, "building", &bytes)
    }
}

fn cached(cache: &Path, key: &Digest, count: usize) -> Option<Vec<Vec<f32>>> {
    let bytes = std::fs::read(cache).ok()?;
    let values = bytes.strip_prefix(key.as_str().as_bytes())?;
    let width = values.len().checked_div(count)?;
    if width == 0 || width % 4 != 0 || width * count != values.len() {
        return None;
    }
    let float = |bytes: &[u8]| Some(f32::from_le_bytes(bytes.try_into().ok()?));
    values.chunks_exact(width).map(|row| row.chunks_exact(4).map(float).collect()).collect()
}

/// Length 1 each.
fn means(
    models: &Understanding,
    texts: &[&str],
    threads: usize,
) -> Result<Vec<Vec<f32>>, UnderstandingError> {
    let vectors = models.model().means_of(texts, (models.tokens(), models.lexicon()), threads)?;
    Ok(vectors.into_iter().map(unit).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::understanding::Schema;

    fn lines() -> Vec<Labelled> {
        [
            ("balance", Language::En, "How much money do I have?"),
            ("lost_or_stolen_card", Language::De, "Meine Karte ist weg."),
            ("lost_or_stolen_card", Language::En, "Somebody took my card."),
            ("lost_or_stolen_card", Language::En, "Somebody took my card."),
            ("exchange_rate", Language::En, "What is the rate for dollars?"),
        ]
        .map(|(leaf, language, text)| Labelled { leaf: leaf.to_owned(), language, text: text.to_owned() })
        .to_vec()
    }

    #[test]
    fn the_nearest_lines_are_about_the_same_and_come_from_the_cache_the_second_time() {
        let schema = Schema::read(Path::new("config")).unwrap();
        let models = Understanding::load(Path::new("models/default"), &schema).unwrap();
        let folder = tempfile::tempdir().unwrap();
        let cache = folder.path().join("models/nearest.bin");
        let nearest = Nearest::of(&models, lines(), &cache, 2).unwrap();
        let found = nearest.find(&models, "My card was stolen!", 2).unwrap();
        assert_eq!(found[0].leaf, "lost_or_stolen_card");
        assert!(found.len() == 2 && found[0].text != found[1].text, "{found:?}");
        assert!(found[0].similarity <= 1.0001 && found[0].similarity >= found[1].similarity);
        let written = std::fs::metadata(&cache).unwrap().modified().unwrap();
        let again = Nearest::of(&models, lines(), &cache, 1).unwrap();
        assert_eq!(again.find(&models, "My card was stolen!", 2).unwrap(), found);
        assert_eq!(std::fs::metadata(&cache).unwrap().modified().unwrap(), written);
        let other = Nearest::of(&models, lines()[..3].to_vec(), &cache, 1).unwrap();
        assert_eq!(other.find(&models, "dollars", 9).unwrap().len(), 3);
        std::fs::write(&cache, "garbage").unwrap();
        assert_eq!(Nearest::of(&models, lines(), &cache, 1).unwrap().find(&models, "x", 9).unwrap().len(), 4);
    }
}
