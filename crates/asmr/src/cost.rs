//! What a network costs.
