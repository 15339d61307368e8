// Some weight goes to a sink, a key of score sinks[h] whose v is 0 (Xiao et al. 2023): what the weighted
// sum is to be multiplied by, the largest score, and the sum over keys and sink. Who sees no key has
// nothing all the same.

@group(0) @binding(0) var<storage, read> sinks: array<f32>;

fn with_sink(h: u32, largest: f32, sum: f32) -> vec3<f32> {
    let sink = sinks[p.sinks_offset * 4u + h];
    let top = max(largest, sink);
    let shrink = exp(max(largest - top, -87.0));
    let is_number = (bitcast<u32>(sink) & 0x7fffffffu) <= 0x7f800000u;
    let all = select(sink, sum * shrink + exp(max(sink - top, -87.0)), is_number);
    return select(vec3<f32>(shrink / all, top, all), vec3<f32>(0.0, largest, 0.0), sum <= 0.0);
}
