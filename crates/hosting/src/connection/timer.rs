//! A timer that is moved rarely.

use std::future::Future as _;
use std::pin::Pin;
use std::task::Context;

use tokio::time::{Instant, Sleep, sleep_until};

/// A timer for one moment after another.
#[derive(Debug)]
pub(crate) struct Timer(Pin<Box<Sleep>>);

impl Timer {
    pub(crate) fn new(first: Instant) -> Self {
        Self(Box::pin(sleep_until(first)))
    }

    /// Whether the moment has come; if not, wakes the task when it has. The timer is moved only where
    /// it would be late: mostly the moment just moves on.
    pub(crate) fn is_over(&mut self, moment: Instant, cx: &mut Context<'_>) -> bool {
        if moment < self.0.deadline() {
            self.0.as_mut().reset(moment);
        }
        while self.0.as_mut().poll(cx).is_ready() {
            if Instant::now() >= moment {
                return true;
            }
            self.0.as_mut().reset(moment);
        }
        false
    }
}
