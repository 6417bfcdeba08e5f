@group(0) @binding(0) var<storage, read> x: array<vec4<f32>, 512>;
@group(0) @binding(1) var<storage, read_write> y: array<f32, 512>;
@group(0) @binding(2) var<storage, read> params: array<i32, 16>;
var<workgroup> part: array<f32, 16>;
@compute @workgroup_size(16, 1, 1)
fn main(@builtin(workgroup_id) wg: vec3<u32>, @builtin(local_invocation_id) lid: vec3<u32>,
        @builtin(local_invocation_index) index: u32) {
    let n = params[0];
    let r = i32(wg.x);
    let t = i32(lid.x);
    var acc_0: vec4<f32>;
    acc_0 = vec4<f32>(0x0p+0f);
    for (var k: i32 = 0; k < 4; k++) {
        acc_0 = acc_0 + x[r * 64 + t + k * 16];
    }
    part[t] = acc_0[0] + acc_0[1] + acc_0[2] + acc_0[3];
    workgroupBarrier();
    if (t == 0) {
        var sum_0: f32;
        sum_0 = 0x0p+0f;
        for (var k2: i32 = 0; k2 < 16; k2++) {
            sum_0 = sum_0 + part[k2];
        }
        y[r * 64] = sum_0;
    }
    y[r * 64 + t + 1] = y[r * 64 + t + 1] + part[15 - t];
}
