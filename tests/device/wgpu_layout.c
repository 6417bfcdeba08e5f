// Compiled and run by tests/suites/native_webgpu.py: what src/device/wgpu_api.h declares is what
// the library's own headers (in third_party/wgpu) declare.
#include <webgpu.h>
#include <wgpu.h>

#include "device/wgpu_api.h"

#define SIZE(ours, theirs) _Static_assert(sizeof(ours) == sizeof(theirs), #theirs)
#define SAME(ours, a, theirs, b)                                                                   \
    _Static_assert(offsetof(ours, a) == offsetof(theirs, b), #theirs "." #b);                      \
    _Static_assert(sizeof(((ours *)0)->a) == sizeof(((theirs *)0)->b), #theirs "." #b)
#define VALUE(ours, theirs) _Static_assert((u64)(ours) == (u64)(theirs), #theirs)

SIZE(WgChain, WGPUChainedStruct);
SAME(WgChain, type, WGPUChainedStruct, sType);
SIZE(WgStr, WGPUStringView);
SAME(WgStr, length, WGPUStringView, length);
SIZE(WgFuture, WGPUFuture);
SIZE(WgInstanceDesc, WGPUInstanceDescriptor);
SIZE(WgInstanceExtras, WGPUInstanceExtras);
SAME(WgInstanceExtras, backends, WGPUInstanceExtras, backends);
SAME(WgInstanceExtras, flags, WGPUInstanceExtras, flags);
SAME(WgInstanceExtras, dxc_path, WGPUInstanceExtras, dxcPath);
SAME(WgInstanceExtras, budget_creation, WGPUInstanceExtras, budgetForDeviceCreation);
SAME(WgInstanceExtras, display, WGPUInstanceExtras, displayHandle);
SIZE(WgAdapterOptions, WGPURequestAdapterOptions);
SAME(WgAdapterOptions, power, WGPURequestAdapterOptions, powerPreference);
SAME(WgAdapterOptions, backend, WGPURequestAdapterOptions, backendType);
SIZE(WgAdapterInfo, WGPUAdapterInfo);
SAME(WgAdapterInfo, device, WGPUAdapterInfo, device);
SAME(WgAdapterInfo, type, WGPUAdapterInfo, adapterType);
SAME(WgAdapterInfo, vendor_id, WGPUAdapterInfo, vendorID);
SAME(WgAdapterInfo, subgroup_min, WGPUAdapterInfo, subgroupMinSize);
SAME(WgAdapterInfo, subgroup_max, WGPUAdapterInfo, subgroupMaxSize);
SIZE(WgLimits, WGPULimits);
SAME(WgLimits, storage_buffers, WGPULimits, maxStorageBuffersPerShaderStage);
SAME(WgLimits, storage_binding_size, WGPULimits, maxStorageBufferBindingSize);
SAME(WgLimits, storage_align, WGPULimits, minStorageBufferOffsetAlignment);
SAME(WgLimits, buffer_size, WGPULimits, maxBufferSize);
SAME(WgLimits, workgroup_storage, WGPULimits, maxComputeWorkgroupStorageSize);
SAME(WgLimits, workgroup_invocations, WGPULimits, maxComputeInvocationsPerWorkgroup);
SAME(WgLimits, workgroup_x, WGPULimits, maxComputeWorkgroupSizeX);
SAME(WgLimits, workgroups, WGPULimits, maxComputeWorkgroupsPerDimension);
SIZE(WgMessageInfo, WGPUBufferMapCallbackInfo);
SAME(WgMessageInfo, call, WGPUBufferMapCallbackInfo, callback);
SIZE(WgMessageInfo, WGPUQueueWorkDoneCallbackInfo);
SAME(WgMessageInfo, user, WGPUQueueWorkDoneCallbackInfo, userdata1);
SIZE(WgMadeInfo, WGPURequestAdapterCallbackInfo);
SIZE(WgMadeInfo, WGPURequestDeviceCallbackInfo);
SAME(WgMadeInfo, call, WGPURequestDeviceCallbackInfo, callback);
SIZE(WgDeviceDesc, WGPUDeviceDescriptor);
SAME(WgDeviceDesc, features, WGPUDeviceDescriptor, requiredFeatures);
SAME(WgDeviceDesc, limits, WGPUDeviceDescriptor, requiredLimits);
SAME(WgDeviceDesc, lost, WGPUDeviceDescriptor, deviceLostCallbackInfo);
SAME(WgDeviceDesc, lost.call, WGPUDeviceDescriptor, deviceLostCallbackInfo.callback);
SAME(WgDeviceDesc, error, WGPUDeviceDescriptor, uncapturedErrorCallbackInfo);
SAME(WgDeviceDesc, error.call, WGPUDeviceDescriptor, uncapturedErrorCallbackInfo.callback);
SIZE(WgBufferDesc, WGPUBufferDescriptor);
SAME(WgBufferDesc, usage, WGPUBufferDescriptor, usage);
SAME(WgBufferDesc, size, WGPUBufferDescriptor, size);
SIZE(WgLayoutEntry, WGPUBindGroupLayoutEntry);
SAME(WgLayoutEntry, visibility, WGPUBindGroupLayoutEntry, visibility);
SAME(WgLayoutEntry, buffer, WGPUBindGroupLayoutEntry, buffer);
SAME(WgLayoutEntry, buffer.type, WGPUBindGroupLayoutEntry, buffer.type);
SAME(WgLayoutEntry, storage_texture, WGPUBindGroupLayoutEntry, storageTexture);
SIZE(WgGroupLayoutDesc, WGPUBindGroupLayoutDescriptor);
SAME(WgGroupLayoutDesc, entries, WGPUBindGroupLayoutDescriptor, entries);
SIZE(WgLayoutDesc, WGPUPipelineLayoutDescriptor);
SAME(WgLayoutDesc, groups, WGPUPipelineLayoutDescriptor, bindGroupLayouts);
SIZE(WgGroupEntry, WGPUBindGroupEntry);
SAME(WgGroupEntry, buffer, WGPUBindGroupEntry, buffer);
SAME(WgGroupEntry, size, WGPUBindGroupEntry, size);
SIZE(WgGroupDesc, WGPUBindGroupDescriptor);
SAME(WgGroupDesc, layout, WGPUBindGroupDescriptor, layout);
SAME(WgGroupDesc, entries, WGPUBindGroupDescriptor, entries);
SIZE(WgModuleDesc, WGPUShaderModuleDescriptor);
SIZE(WgSourceWgsl, WGPUShaderSourceWGSL);
SAME(WgSourceWgsl, code, WGPUShaderSourceWGSL, code);
SIZE(WgPipelineDesc, WGPUComputePipelineDescriptor);
SAME(WgPipelineDesc, layout, WGPUComputePipelineDescriptor, layout);
SAME(WgPipelineDesc, compute.module, WGPUComputePipelineDescriptor, compute.module);
SAME(WgPipelineDesc, compute.entry, WGPUComputePipelineDescriptor, compute.entryPoint);
SIZE(WgQueriesDesc, WGPUQuerySetDescriptor);
SAME(WgQueriesDesc, type, WGPUQuerySetDescriptor, type);
SAME(WgQueriesDesc, count, WGPUQuerySetDescriptor, count);
SIZE(WgPassTimes, WGPUPassTimestampWrites);
SAME(WgPassTimes, queries, WGPUPassTimestampWrites, querySet);
SAME(WgPassTimes, begin, WGPUPassTimestampWrites, beginningOfPassWriteIndex);
SAME(WgPassTimes, end, WGPUPassTimestampWrites, endOfPassWriteIndex);
SIZE(WgPassDesc, WGPUComputePassDescriptor);
SAME(WgPassDesc, times, WGPUComputePassDescriptor, timestampWrites);

VALUE(WG_SHADER_SOURCE_WGSL, WGPUSType_ShaderSourceWGSL);
VALUE(WG_INSTANCE_EXTRAS, WGPUSType_InstanceExtras);
VALUE(WG_FEATURE_SHADER_F16, WGPUFeatureName_ShaderF16);
VALUE(WG_FEATURE_TIMESTAMP, WGPUFeatureName_TimestampQuery);
VALUE(WG_QUERY_TIMESTAMP, WGPUQueryType_Timestamp);
VALUE(WG_FEATURE_SUBGROUP, WGPUNativeFeature_Subgroup);
VALUE(WG_HIGH_PERFORMANCE, WGPUPowerPreference_HighPerformance);
VALUE(WG_ADAPTER_CPU, WGPUAdapterType_CPU);
VALUE(WG_SUCCESS, WGPUMapAsyncStatus_Success);
VALUE(WG_SUCCESS, WGPUQueueWorkDoneStatus_Success);
VALUE(WG_SUCCESS, WGPURequestAdapterStatus_Success);
VALUE(WG_SUCCESS, WGPURequestDeviceStatus_Success);
VALUE(WG_SUCCESS, WGPUStatus_Success);
VALUE(WG_SPONTANEOUS, WGPUCallbackMode_AllowSpontaneous);
VALUE(WG_ERROR_OUT_OF_MEMORY, WGPUErrorType_OutOfMemory);
VALUE(WG_BINDING_STORAGE, WGPUBufferBindingType_Storage);
VALUE(WG_BINDING_READ_ONLY, WGPUBufferBindingType_ReadOnlyStorage);

// The headers have these as variables, which no static assertion takes.
int main(void) {
    bool same =
        WGPUInstanceBackend_Primary == WG_BACKENDS_PRIMARY &&
        WGPUBufferUsage_MapRead == WG_USE_MAP_READ && WGPUBufferUsage_CopySrc == WG_USE_COPY_SRC &&
        WGPUBufferUsage_CopyDst == WG_USE_COPY_DST && WGPUBufferUsage_Storage == WG_USE_STORAGE &&
        WGPUBufferUsage_QueryResolve == WG_USE_QUERIES && WGPUMapMode_Read == WG_MAP_READ &&
        WGPUShaderStage_Compute == WG_STAGE_COMPUTE;
    return same ? 0 : 1;
}
