//! Something to protect: each subject's own reports, in memory and bounded.

use std::collections::{HashMap, VecDeque};
use std::sync::{Mutex, PoisonError};

use claims::{Subject, Timestamp};
use serde::Serialize;
use utoipa::ToSchema;
use uuid::Uuid;

const MAX_PER_SUBJECT: usize = 100;
const MAX_SUBJECTS: usize = 1000;

/// A report.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct Report {
    /// Its id.
    pub id: Uuid,
    /// Its title.
    pub title: String,
    /// When it was written.
    pub created_at: Timestamp,
}

/// Everybody's reports. Beyond the bounds the oldest go: a subject's oldest report, and the subject
/// who wrote longest ago.
#[derive(Debug, Default)]
pub(crate) struct Reports(Mutex<HashMap<Subject, VecDeque<Report>>>);

impl Reports {
    /// The subject's reports, oldest first.
    #[must_use]
    pub(crate) fn of(&self, subject: &Subject) -> Vec<Report> {
        let all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        all.get(subject).map(|own| own.iter().cloned().collect()).unwrap_or_default()
    }

    /// Adds a report.
    pub(crate) fn add(&self, subject: &Subject, title: String, now: Timestamp) -> Report {
        let report = Report { id: Uuid::now_v7(), title, created_at: now };
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if all.len() >= MAX_SUBJECTS && !all.contains_key(subject) {
            let last_write = |own: &VecDeque<Report>| own.back().map(|report| report.created_at);
            let oldest = all.iter().min_by_key(|(_, own)| last_write(own));
            if let Some(oldest) = oldest.map(|(subject, _)| subject.clone()) {
                all.remove(&oldest);
            }
        }
        let own = all.entry(subject.clone()).or_default();
        if own.len() >= MAX_PER_SUBJECT {
            own.pop_front();
        }
        own.push_back(report.clone());
        report
    }

    /// Removes a report; `false` when the subject has no such one.
    pub(crate) fn remove(&self, subject: &Subject, id: Uuid) -> bool {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(own) = all.get_mut(subject) else { return false };
        let before = own.len();
        own.retain(|report| report.id != id);
        let removed = own.len() < before;
        if own.is_empty() {
            all.remove(subject);
        }
        removed
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_is_bounded_whoever_writes() {
        let reports = Reports::default();
        let first: Subject = "first".parse().unwrap();
        for n in 0..150 {
            reports.add(&first, n.to_string(), Timestamp(n));
        }
        assert_eq!(reports.of(&first).len(), MAX_PER_SUBJECT);
        for n in 0..1500 {
            reports.add(&format!("s{n}").parse().unwrap(), String::new(), Timestamp(1000 + n));
        }
        assert_eq!(reports.0.lock().unwrap().len(), MAX_SUBJECTS);
        assert!(reports.of(&first).is_empty());
    }
}
