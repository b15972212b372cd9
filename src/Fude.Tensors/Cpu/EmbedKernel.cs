using System.Runtime.CompilerServices;

namespace Fude.Tensors;

/// <summary>Rows of a table, unpacked to float32.</summary>
internal static unsafe class EmbedKernel
{
    internal struct Job
    {
        /// <summary>Which row of the table each row of Y is.</summary>
        public int* Indices;
        public byte* Table;
        public float* Y;
        public int Rows, Width, ItemRows;

        /// <summary>Whether it adds to what Y holds, as positions do.</summary>
        public bool Adds;
    }

    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    internal static void Run<T, TStored>(void* argument, int item, int worker)
        where T : unmanaged, ILanes<T>
        where TStored : struct, IStoredNumbers
    {
        ref Job job = ref *(Job*)argument;
        int end = Math.Min(job.Rows, (item + 1) * job.ItemRows);
        for (int row = item * job.ItemRows; row < end; row++)
        {
            byte* source = job.Table + (nint)job.Indices[row] * job.Width * TStored.Size;
            float* y = job.Y + (nint)row * job.Width;
            nint i = 0;
            for (; i <= job.Width - 16; i += 16)
            {
                T value = TStored.Load<T>(source, i);
                T.Store(job.Adds ? T.Load(y + i) + value : value, y + i);
            }
            int rest = job.Width - (int)i;
            if (rest == 0) continue;
            T part = TStored.LoadPartial<T>(source, i, rest);
            Partial.Store(job.Adds ? Partial.Load<T>(y + i, rest) + part : part, y + i, rest);
        }
    }
}
