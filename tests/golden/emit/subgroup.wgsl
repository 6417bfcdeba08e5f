enable subgroups;
diagnostic(off, subgroup_uniformity);
@group(0) @binding(0) var<storage, read> w: array<vec4<u32>, 262144>;
@group(0) @binding(1) var<storage, read> i: array<i32, 64>;
@group(0) @binding(2) var<storage, read_write> y: array<vec4<f32>, 65536>;
@group(0) @binding(3) var<storage, read_write> z: array<i32, 65536>;
fn low(a: u32) -> u32 { return a & 0xffffu; }
fn high(a: u32) -> u32 { return a >> 16u; }
fn lows(a: u32, b: u32) -> u32 { return low(a) * low(b); }
fn cross(a: u32, b: u32) -> u32 { return high(a) * low(b); }
fn highs(a: u32, b: u32) -> u32 { return high(a) * high(b); }
fn cross1(a: u32, b: u32) -> u32 { return cross(a, b) + high(lows(a, b)); }
fn cross2(a: u32, b: u32) -> u32 { return cross(b, a) + low(cross1(a, b)); }
fn carry(a: u32, b: u32) -> u32 { return high(cross1(a, b)) + high(cross2(a, b)); }
fn u32_mulhi(a: u32, b: u32) -> u32 { return highs(a, b) + carry(a, b); }
fn i32_div_below(a: i32, b: i32) -> i32 { return ~(~a / b); }
fn i32_div(a: i32, b: i32) -> i32 { return select(a / b, i32_div_below(a, b), a < 0); }
fn i32_mod(a: i32, b: i32) -> i32 { return a - b * i32_div(a, b); }
@compute @workgroup_size(4, 1, 1)
fn main(@builtin(workgroup_id) wg: vec3<u32>, @builtin(local_invocation_id) lid: vec3<u32>,
        @builtin(local_invocation_index) index: u32) {
    let o = i32(wg.x + wg.y * 65535u);
    if (o < 65536) {
        let t = i32(lid.x);
        var acc_0: vec4<f32>;
        {
            let q = w[o * 4 + t];
            acc_0 = subgroupAdd(vec4<f32>(unpack2x16float(q[0]).x, unpack2x16float(q[1]).x, unpack2x16float(q[2]).x, unpack2x16float(q[3]).x) + vec4<f32>(vec4<i32>((q >> vec4<u32>(4u)) & vec4<u32>(15u))));
        }
        if (t == 0) {
            y[o] = acc_0;
            z[o] = i32_div(i[o & 63], 7) + i32_mod(i[o >> 10u], 3) + i32(u32_mulhi(w[o >> 2u][o & 3], w[(o + 1) >> 2u][(o + 1) & 3]) >> 3u);
        }
    }
}
