namespace Fude.Tensors;

/// <summary>Products and table rows of quantised weights: a panel of rows is widened to float32, then goes through the float32
/// kernel.</summary>
/// <remarks>The bits are those of the widened matrix, on every path and for every number of rows. It is the reference for kernels that
/// multiply the blocks as they are, and serves the formats that have none.</remarks>
internal static unsafe class WidenedRows
{
    private const int PanelOutputs = 32;

    internal struct MatMulJob
    {
        public MatMulKernel.Job Product;
        public delegate*<void*, int, int, void> Kernel;
        public NumberFormat Format;

        /// <summary>Bytes of a row as it is stored.</summary>
        public nint RowBytes;

        /// <summary><see cref="PanelBytes"/> for every thread.</summary>
        public byte* Panels;
    }

    /// <summary>Scratch that a thread needs.</summary>
    internal static long PanelBytes(int inputs) => (long)PanelOutputs * inputs * sizeof(float);

    /// <summary>Splits the job into items and returns their number.</summary>
    internal static int Plan(ref MatMulKernel.Job job, int threads)
    {
        _ = MatMulKernel.Plan(ref job, NumberFormat.F32, threads);
        job.ItemOutputs = PanelOutputs;
        return (job.Rows + job.ItemRows - 1) / job.ItemRows * ((job.Outputs + PanelOutputs - 1) / PanelOutputs);
    }

    internal static void MatMul(void* argument, int item, int worker)
    {
        MatMulJob* job = (MatMulJob*)argument;
        MatMulKernel.Job product = job->Product;
        int inputs = product.Inputs;
        int first = item % ((product.Outputs + PanelOutputs - 1) / PanelOutputs) * PanelOutputs;
        float* panel = (float*)(job->Panels + (worker * PanelBytes(inputs)));
        for (int row = 0; row < Math.Min(PanelOutputs, product.Outputs - first); row++)
            job->Format.Widen(
                new ReadOnlySpan<byte>(product.W + (job->RowBytes * (first + row)), (int)job->RowBytes),
                new Span<float>(panel + ((nint)row * inputs), inputs));
        // The kernel finds row `first` of the matrix at the beginning of the panel, and asks for no other rows than the panel's.
        product.W = (byte*)(panel - ((nint)first * inputs));
        job->Kernel(&product, item, worker);
    }

    internal struct EmbedJob
    {
        public EmbedKernel.Job Rows;
        public NumberFormat Format;
        public nint RowBytes;

        /// <summary>Whether the table lies in groups (<see cref="GroupLayout"/>), and from which row on.</summary>
        public bool IsGrouped;
        public int FirstRow;
    }

    internal static void Embed(void* argument, int item, int worker)
    {
        EmbedJob* job = (EmbedJob*)argument;
        ref EmbedKernel.Job rows = ref job->Rows;
        int width = rows.Width, end = Math.Min(rows.Rows, (item + 1) * rows.ItemRows);
        int piece = Math.Min(width, 1024);      // whole blocks of every format
        float* numbers = stackalloc float[1024];
        for (int row = item * rows.ItemRows; row < end; row++)
        {
            byte* source = rows.Table + (job->RowBytes * rows.Indices[row]);
            for (int i = 0; i < width; i += piece)
            {
                int count = Math.Min(piece, width - i);
                if (job->IsGrouped) ReadGroup(job, rows.Indices[row], i, new Span<float>(numbers, count));
                else job->Format.Widen(
                    new ReadOnlySpan<byte>(source + job->Format.Bytes(i), (int)job->Format.Bytes(count)), new Span<float>(numbers, count));
                float* y = rows.Y + ((nint)row * width) + i;
                for (int k = 0; k < count; k++) y[k] = rows.Adds ? y[k] + numbers[k] : numbers[k];
            }
        }
    }

    private static void ReadGroup(EmbedJob* job, int row, int first, Span<float> numbers)
    {
        GroupLayout layout = GroupLayout.Of(job->Format)!;
        int place = job->FirstRow + row;
        byte* group = job->Rows.Table + (place / GroupLayout.Rows * layout.GroupBytes(job->Rows.Width));
        layout.Read(group, place % GroupLayout.Rows, first, numbers);
    }
}
