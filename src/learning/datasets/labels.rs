//! How public labels map onto leaves, and where sources overlap: `models/data/labels.toml`.

use crate::learning::error::LearningError;
use crate::understanding::Dag;
use serde::Deserialize;
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Labels {
    pub banking77: SourceLabels,
    pub clinc150: SourceLabels,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SourceLabels {
    /// Public label -> leaf.
    pub leaf: BTreeMap<String, String>,
    /// Leaf -> leaves that this source would file under it too, so that it says nothing against them.
    pub overlap: BTreeMap<String, Vec<String>>,
}

impl Labels {
    pub fn read(path: &Path, dag: &Dag) -> Result<Self, LearningError> {
        let text = std::fs::read_to_string(path)
            .map_err(|error| LearningError::file(path, error, "it belongs to the repository; restore it"))?;
        let labels: Self = toml::from_str(&text)
            .map_err(|error| LearningError::file(path, error.to_string().trim(), "correct the file"))?;
        for source in [&labels.banking77, &labels.clinc150] {
            let named =
                source.leaf.values().chain(source.overlap.keys()).chain(source.overlap.values().flatten());
            if let Some(unknown) = named.into_iter().find(|leaf| dag.leaf(leaf).is_none()) {
                let problem = format!("`{unknown}` is not a leaf");
                return Err(LearningError::file(path, problem, "use a leaf of config/intents.toml"));
            }
        }
        Ok(labels)
    }
}

impl SourceLabels {
    /// For every leaf, which leaves a line of it speaks against.
    pub fn against(&self, dag: &Dag) -> Vec<Arc<Vec<bool>>> {
        let of = |leaf: &crate::understanding::dag::Leaf| {
            let mut mask = vec![true; dag.leaves.len()];
            for other in self.overlap.get(&leaf.id).into_iter().flatten() {
                if let Some(place) = dag.leaf(other).and_then(|at| mask.get_mut(at)) {
                    *place = false;
                }
            }
            Arc::new(mask)
        };
        dag.leaves.iter().map(of).collect()
    }
}
