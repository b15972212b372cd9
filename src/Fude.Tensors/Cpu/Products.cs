using System.Runtime.InteropServices;

namespace Fude.Tensors;

/// <summary>Several products of one x as one job, so that no thread waits between them.</summary>
/// <remarks>The items of a product follow those of the one before; each is done by the kernel of its own number format.</remarks>
internal static unsafe class Products
{
    /// <summary>One product. Its kernel finds its own job behind <see cref="Work"/>.</summary>
    [StructLayout(LayoutKind.Explicit)]
    internal struct Part
    {
        [FieldOffset(0)]
        public int FirstItem;

        [FieldOffset(8)]
        public delegate*<void*, int, int, void> Work;

        /// <summary>Of a format that <see cref="MatMulKernel"/> reads.</summary>
        [FieldOffset(16)]
        public MatMulKernel.Job Direct;

        /// <summary>Of a quantised format whose rows lie one after the other.</summary>
        [FieldOffset(16)]
        public WidenedRows.MatMulJob Widened;

        /// <summary>Of a quantised format in groups of rows.</summary>
        [FieldOffset(16)]
        public GroupProduct.Job Grouped;
    }

    internal struct Job
    {
        public Part* Parts;
        public int Count;
    }

    internal static void Run(void* argument, int item, int worker)
    {
        Job* job = (Job*)argument;
        int i = job->Count - 1;
        while (job->Parts[i].FirstItem > item) i--;
        Part* part = job->Parts + i;
        part->Work(&part->Direct, item - part->FirstItem, worker);
    }
}
