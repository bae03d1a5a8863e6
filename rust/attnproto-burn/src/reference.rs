//! Attention in FP64, from the definition.

/// softmax(scale Q K^T + mask) V for [heads, nq, d] by [heads, nkv, d], scale d^-0.5.
pub fn attention(
    [q, k, v]: [&[f32]; 3],
    [heads, nq, nkv, d]: [usize; 4],
    causal: bool,
) -> Vec<f64> {
    let mut output = vec![0.0; heads * nq * d];
    for head in 0..heads {
        for i in 0..nq {
            let seen = if causal {
                (i + 1 + nkv).saturating_sub(nq)
            } else {
                nkv
            };
            let query = &q[(head * nq + i) * d..][..d];
            let scores: Vec<f64> = (0..seen)
                .map(|j| {
                    let key = &k[(head * nkv + j) * d..][..d];
                    let sum: f64 = query
                        .iter()
                        .zip(key)
                        .map(|(&a, &b)| f64::from(a) * f64::from(b))
                        .sum();
                    sum / (d as f64).sqrt()
                })
                .collect();
            let largest = scores.iter().copied().fold(f64::NEG_INFINITY, f64::max);
            let weights: Vec<f64> = scores.iter().map(|s| (s - largest).exp()).collect();
            let total: f64 = weights.iter().sum();
            for (j, weight) in weights.iter().enumerate() {
                for c in 0..d {
                    let value = f64::from(v[(head * nkv + j) * d + c]);
                    output[(head * nq + i) * d + c] += weight / total * value;
                }
            }
        }
    }
    output
}
