@group(0) @binding(0) var<storage, read_write> y: array<i32>;
@group(0) @binding(1) var<storage, read> params: array<i32, 16>;
@compute @workgroup_size(4, 1, 1)
fn main(@builtin(workgroup_id) wg: vec3<u32>, @builtin(local_invocation_id) lid: vec3<u32>,
        @builtin(local_invocation_index) index: u32) {
    let n = params[0];
    let r = 0;
    let o = i32(wg.x + wg.y * 65535u);
    if (o < 70001) {
        let t = i32(lid.x);
        if ((o * 4 + t) < 280003) {
            y[o * 4 + t] = o * 4 + t;
        }
    }
}
