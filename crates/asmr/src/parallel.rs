//! The one place that knows whether there are threads.

/// Threads that [`for_each`] and [`map`] spread work over.
pub(crate) fn n_threads() -> usize {
    #[cfg(feature = "threads")]
    return rayon::current_num_threads();
    #[cfg(not(feature = "threads"))]
    return 1;
}

/// Does `work` on each item, with one scratch value per thread (or thereabouts).
pub(crate) fn for_each<I: Send, S>(
    items: Vec<I>,
    scratch: impl Fn() -> S + Sync + Send,
    work: impl Fn(&mut S, I) + Sync + Send,
) {
    #[cfg(feature = "threads")]
    if n_threads() > 1 {
        use rayon::prelude::*;
        items.into_par_iter().for_each_init(scratch, work);
        return;
    }
    let mut scratch = scratch();
    for item in items {
        work(&mut scratch, item);
    }
}

/// Like [`for_each`], keeping the results in order.
pub(crate) fn map<I: Send, S, R: Send>(
    items: Vec<I>,
    scratch: impl Fn() -> S + Sync + Send,
    work: impl Fn(&mut S, I) -> R + Sync + Send,
) -> Vec<R> {
    #[cfg(feature = "threads")]
    if n_threads() > 1 {
        use rayon::prelude::*;
        return items.into_par_iter().map_init(scratch, work).collect();
    }
    let mut scratch = scratch();
    items.into_iter().map(|item| work(&mut scratch, item)).collect()
}
