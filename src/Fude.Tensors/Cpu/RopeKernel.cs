using System.Runtime.CompilerServices;

namespace Fude.Tensors;

/// <summary>Turns pairs (i, i + half) of every head by the angles of the token's position, in place.</summary>
internal static unsafe class RopeKernel
{
    internal struct Job
    {
        public float* X;
        public int* Positions;

        /// <summary>Row of <see cref="FirstPosition"/> of a <see cref="RopeTable"/>.</summary>
        public float* Table;
        public int FirstPosition;
        public int Rows, Width, HeadSize, Half, ItemRows;

        /// <summary>Whether the angles count negated: the gradient of a rotation.</summary>
        public bool TurnsBack;
    }

    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    internal static void Run<T>(void* argument, int item, int worker)
        where T : unmanaged, ILanes<T>
    {
        ref Job job = ref *(Job*)argument;
        int end = Math.Min(job.Rows, (item + 1) * job.ItemRows), half = job.Half;
        float sign = job.TurnsBack ? -1 : 1;
        T signs = T.Broadcast(sign);
        for (int row = item * job.ItemRows; row < end; row++)
        {
            float* cosines = job.Table + (nint)(job.Positions[row] - job.FirstPosition) * 2 * half, sines = cosines + half;
            float* x = job.X + (nint)row * job.Width;
            for (int head = 0; head < job.Width; head += job.HeadSize)
            {
                float* a = x + head, b = a + half;
                nint i = 0;
                for (; i <= half - 16; i += 16)
                {
                    T cosine = T.Load(cosines + i), sine = T.Load(sines + i) * signs, u = T.Load(a + i), v = T.Load(b + i);
                    T.Store(u * cosine - v * sine, a + i);
                    T.Store(v * cosine + u * sine, b + i);
                }
                // Few: StableLM turns 2 × 10 numbers of a head. Written out, so that nothing contracts the products and the sum.
                for (; i < half; i++)
                {
                    float u = a[i], v = b[i], sine = sines[i] * sign;
                    float uc = u * cosines[i], vs = v * sine, vc = v * cosines[i], us = u * sine;
                    a[i] = uc - vs;
                    b[i] = vc + us;
                }
            }
        }
    }
}
