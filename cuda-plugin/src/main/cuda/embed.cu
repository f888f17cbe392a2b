// Embedding lookups, and the angles of rotary position embedding.
#include "embed.cuh"

extern "C" __global__ void __launch_bounds__(256) embed(const __grid_constant__ EmbedArgs a) {
    Mark mark{a.mark};
    dependencyWait();
    dependentsLaunch();
    embedRow(a, blockIdx.x);
}

extern "C" __global__ void __launch_bounds__(128) rope_angles(const __grid_constant__ AnglesArgs a) {
    Mark mark{a.mark};
    dependencyWait();
    dependentsLaunch();
    anglesRow(a, blockIdx.x);
}
