// Writes what lib/select.wgsl left, as values and places.

fn write_first(r: u32, lane: u32) {
    for (var k4 = lane; k4 < (p.K + 3u) / 4u; k4 += BLOCK) {
        var v = vec4<f32>(0.0);
        for (var i = 0u; i < min(4u, p.K - k4 * 4u); i++) {
            let key = best_keys[k4 * 4u + i];
            let order = select(key, ~key, SMALLEST);
            // The bits of the number that has this order.
            v[i] = bitcast<f32>(select(~order, order & 0x7fffffffu, order >= 0x80000000u));
            idx[p.idx_offset + r * p.K + k4 * 4u + i] = best_places[k4 * 4u + i];
        }
        store4_y(p.y_offset + r * p.y_R + k4, v);
    }
}
