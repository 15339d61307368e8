// A row of D elements whose pairs are turned, unit by unit: an invocation owns what is in a unit.
//
// Contract: PAIRS is a knob, `turns [K, 3]` is bound; a Row has the `token` that its pairs stand at;
// `take4(row, c4)` is a group of four of it, and `give4(row, c4, v)` takes what became of one, once.
//
// A unit is four pairs: of halves two groups that lie K apart, and where K is no multiple of four, a group whose
// partners are picked one by one; of neighbours two groups side by side. Groups behind the pairs stay as they are.

fn units_of_row() -> u32 {
    let groups = (p.D + 3u) / 4u;
    return select(select(groups, groups - p.K / 4u, PAIRS == 0u), (groups + 1u) / 2u, PAIRS == 2u);
}

// m·cos and m·sin of four pairs of a token; past the last pair, of that one.
fn rotation_of(token: u32, pair: vec4<u32>) -> Rotation {
    var position: vec4<u32>;
    var low: vec4<u32>;
    var high: vec4<u32>;
    //@unroll i 0..4
    for (var i = 0u; i < 4u; i++) {
        let at = p.turns_offset + min(pair[i], p.K - 1u) * 3u;
        low[i] = turns[at];
        high[i] = turns[at + 1u];
        position[i] = position_of(turns[at + 2u], token);
    }
    let turned = rotation4(position, low, high);
    return Rotation(turned.cosine * p.scale, turned.sine * p.scale);
}

// What becomes of a unit of a row.
fn turn_unit(row: Row, unit: u32) {
    let groups = (p.D + 3u) / 4u;
    let quarter = p.K / 4u;
    let lanes = vec4<u32>(0u, 1u, 2u, 3u) + unit * 4u;
    if PAIRS == 0u {
        let other = take4(row, unit + quarter);
        var second = other;
        if unit < quarter {
            let own = take4(row, unit);
            let turned = rotation_of(row.token, lanes);
            give4(row, unit, own * turned.cosine - other * turned.sine);
            second = other * turned.cosine + own * turned.sine;
        }
        give4(row, unit + quarter, second);
    }
    if PAIRS == 1u {
        let own = take4(row, unit);
        var out = own;
        if unit * 4u < 2u * p.K {
            let is_first = lanes < vec4<u32>(p.K);
            let place = select(lanes - p.K, lanes + p.K, is_first);
            var other: vec4<f32>;
            //@unroll i 0..4
            for (var i = 0u; i < 4u; i++) {
                other[i] = take4(row, min(place[i] / 4u, groups - 1u))[place[i] & 3u];
            }
            let turned = rotation_of(row.token, select(place, lanes, is_first));
            let sine = select(turned.sine, -turned.sine, is_first);
            out = select(own, own * turned.cosine + other * sine, lanes < vec4<u32>(2u * p.K));
        }
        give4(row, unit, out);
    }
    if PAIRS == 2u {
        let last = min(2u * unit + 1u, groups - 1u);
        var a = take4(row, 2u * unit);
        var b = take4(row, last);
        if unit * 4u < p.K {
            let turned = rotation_of(row.token, lanes);
            let live = lanes < vec4<u32>(p.K);
            let first = vec4<f32>(a.xz, b.xz);
            let second = vec4<f32>(a.yw, b.yw);
            let c = select(first, first * turned.cosine - second * turned.sine, live);
            let d = select(second, second * turned.cosine + first * turned.sine, live);
            a = vec4<f32>(c.x, d.x, c.y, d.y);
            b = vec4<f32>(c.z, d.z, c.w, d.w);
        }
        give4(row, 2u * unit, a);
        if 2u * unit + 1u < groups {
            give4(row, last, b);
        }
    }
}
