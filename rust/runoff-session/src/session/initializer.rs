//! Values for a model's initialisers.

#![allow(unsafe_code)]

use std::fmt;
use std::sync::Arc;

use ort::value::DynValue;

use crate::value::Value;

/// A tensor that sessions use as an initialiser, in place.
#[derive(Clone)]
pub struct Initializer(pub(super) Arc<DynValue>);

impl fmt::Debug for Initializer {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Initializer").finish_non_exhaustive()
    }
}

impl Initializer {
    /// Takes a tensor.
    ///
    /// # Safety
    ///
    /// The value must be a tensor, and its memory must outlive what is returned, and every session that uses it.
    #[must_use]
    pub unsafe fn new(value: Value<'_>) -> Self {
        // SAFETY: the caller guarantees the same conditions.
        Self(Arc::new(unsafe { value.into_ort() }))
    }
}
