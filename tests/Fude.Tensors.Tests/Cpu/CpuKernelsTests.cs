namespace Fude.Tensors.Tests;

/// <summary>Every kernel on every path against the scalar one, bit for bit, in buffers before a page that may not be touched.</summary>
public sealed unsafe class CpuKernelsTests
{
    private static readonly int[] Lengths = [1, 2, 15, 16, 17, 31, 32, 33, 47, 64, 100, 1023, 1041, 2049, 4096];

    public static TheoryData<string, int> Cases() =>
        new(from path in CpuKernels.Paths where path.IsSupported && path.Name != "scalar" from n in Lengths select (path.Name, n));

    // Besides ordinary numbers: those whose exponentials and squares are at the ends of float32's range, and zeros of both signs.
    private static float[] Inputs(int count, int seed)
    {
        float[] x = Numbers.Normal(count, seed, 3);
        ReadOnlySpan<float> special = [0f, -0f, 1e-38f, -1e-42f, 88.8f, -88.8f, 104.5f, -104.5f, 1e30f, -1e30f];
        for (int i = 0; i < count; i += 7) x[i] = special[i / 7 % special.Length];
        return x;
    }

    [Theory, MemberData(nameof(Cases))]
    public void Functions_of_single_numbers(string path, int n)
    {
        using GuardedMemory y = GuardedMemory.Of(Numbers.Normal(n, 2));
        foreach (Func<CpuKernels, nint> choose in (Func<CpuKernels, nint>[])[
            kernels => (nint)kernels.SwiGlu, kernels => (nint)kernels.GeluErf, kernels => (nint)kernels.GeluTanh,
            kernels => (nint)kernels.Add])
            SameOnBoth(path, n, (kernels, x) =>
            {
                ElementKernels.Job job = new() { X = x, Y = (float*)y.Address, Target = x, Count = n, Scale = 0.3f };
                ((delegate*<void*, int, int, void>)choose(kernels))(&job, 0, 0);
            });
    }

    [Theory, MemberData(nameof(Cases))]
    public void Norms(string path, int n)
    {
        using GuardedMemory x = GuardedMemory.Of(Numbers.Normal(2 * n, 1)), gain = GuardedMemory.Of(Numbers.Normal(n, 2));
        using GuardedMemory bias = GuardedMemory.Of(Numbers.Normal(n, 3));
        foreach (bool layer in (bool[])[false, true])
            SameOnBoth(path, 2 * n, (kernels, y) =>
            {
                NormKernels.Job job = new()
                {
                    X = (float*)x.Address,
                    Y = y,
                    Gain = (float*)gain.Address,
                    Bias = (float*)bias.Address,
                    Rows = 2,
                    Width = n,
                    ItemRows = 2,
                    Epsilon = 1e-5f,
                };
                if (layer) kernels.LayerNorm(&job, 0, 0);
                else kernels.RmsNorm(&job, 0, 0);
            });
    }

    [Theory, MemberData(nameof(Cases))]
    public void Products(string path, int n)
    {
        foreach (NumberFormat format in (NumberFormat[])[NumberFormat.F32, NumberFormat.F16, NumberFormat.BF16])
            foreach ((int rows, int outputs) in (ReadOnlySpan<(int, int)>)[(1, 5), (3, 9), (26, 34)])
            {
                using GuardedMemory x = GuardedMemory.Of(Numbers.Normal(rows * n, 1));
                using GuardedMemory bias = GuardedMemory.Of(Numbers.Normal(outputs, 3));
                using GuardedMemory w = GuardedMemory.Of(Numbers.Normal(outputs * n, 2), format), scratch = new(MatMulKernel.ScratchBytes);
                using GuardedMemory packed = new(MatMulKernel.PackedFloats(rows, n) * sizeof(float));
                SameOnBoth(path, rows * outputs, (kernels, y) =>
                {
                    MatMulKernel.Job job = new()
                    {
                        X = (float*)x.Address,
                        W = (byte*)w.Address,
                        Bias = (float*)bias.Address,
                        Y = y,
                        Rows = rows,
                        Inputs = n,
                        Outputs = outputs,
                        Packed = (float*)packed.Address,
                        Scratch = (byte*)scratch.Address,
                    };
                    for (int strip = 0; strip < MatMulKernel.Strips(rows); strip++) MatMulKernel.Pack(&job, strip, 0);
                    int items = MatMulKernel.Plan(ref job, format, 1);
                    for (int item = 0; item < items; item++) kernels.MatMul[(int)format](&job, item, 0);
                });
            }
    }

    [Theory, MemberData(nameof(Cases))]
    public void Embeddings(string path, int n)
    {
        foreach (NumberFormat format in (NumberFormat[])[NumberFormat.F32, NumberFormat.F16, NumberFormat.BF16])
        {
            using GuardedMemory table = GuardedMemory.Of(Numbers.Normal(3 * n, 1), format);
            foreach (bool adds in (bool[])[false, true])
                SameOnBoth(path, 2 * n, (kernels, y) =>
                {
                    int* indices = stackalloc int[] { 2, 0 };
                    EmbedKernel.Job job = new()
                    {
                        Indices = indices,
                        Table = (byte*)table.Address,
                        Y = y,
                        Rows = 2,
                        Width = n,
                        ItemRows = 2,
                        Adds = adds,
                    };
                    kernels.Embed[(int)format](&job, 0, 0);
                });
        }
    }

    [Theory, MemberData(nameof(Cases))]
    public void Rotations(string path, int n)
    {
        using GuardedMemory table = GuardedMemory.Of(Numbers.Normal(2 * 2 * n, 1));
        foreach (bool turnsBack in (ReadOnlySpan<bool>)[false, true]) SameOnBoth(path, 2 * 2 * (2 * n + 1), (kernels, x) =>
        {
            int* positions = stackalloc int[] { 8, 7 };
            RopeKernel.Job job = new()
            {
                X = x,
                Positions = positions,
                Table = (float*)table.Address,
                FirstPosition = 7,
                Rows = 2,
                Width = 2 * (2 * n + 1),
                HeadSize = 2 * n + 1,
                Half = n,
                ItemRows = 2,
                TurnsBack = turnsBack,
            };
            kernels.Rope(&job, 0, 0);
        });
    }

    [Theory, MemberData(nameof(Cases))]
    public void Attention(string path, int n)
    {
        const int Tokens = 37;
        int size = Math.Min(n, 300);
        using GuardedMemory q = GuardedMemory.Of(Numbers.Normal(Tokens * 2 * size, 1));
        using GuardedMemory k = GuardedMemory.Of(Numbers.Normal(Tokens * size, 2)), v = GuardedMemory.Of(Numbers.Normal(Tokens * size, 3));
        AttentionKernel.Job shape = new() { QueryHeads = 2, KeyHeads = 1, Size = size, TextCount = 1, Scale = 0.1f };
        shape.ScratchBytes = AttentionKernel.ScratchBytes(shape);
        HeadLayout layout = new(NumberFormat.F32, size);
        long pageBytes = layout.KeyBytes + layout.ValueBytes;
        using GuardedMemory scratch = new(shape.ScratchBytes), memory = new(2 * pageBytes);
        SameOnBoth(path, Tokens * 2 * size, (kernels, y) =>
        {
            nint* pages = stackalloc nint[] { memory.Address, memory.Address + (nint)pageBytes };
            AttentionKernel.Text text = new() { Count = Tokens, Pages = pages };
            AttentionKernel.Job job = shape with
            {
                Q = (float*)q.Address,
                K = (float*)k.Address,
                V = (float*)v.Address,
                Y = y,
                Texts = &text,
                Scratch = (byte*)scratch.Address,
            };
            int items = AttentionKernel.Plan(job, ref text, threads: 1);
            AttentionKernel.Append(&job, 0, 0);
            for (int item = 0; item < items; item++) kernels.Attention(&job, item, 0);
        });
    }

    private delegate void Computation(CpuKernels kernels, float* y);

    private static void SameOnBoth(string path, int count, Computation compute)
    {
        using GuardedMemory reference = GuardedMemory.Of(Inputs(count, 9)), found = GuardedMemory.Of(Inputs(count, 9));
        compute(CpuKernels.Of("scalar"), (float*)reference.Address);
        compute(CpuKernels.Of(path), (float*)found.Address);
        Numbers.SameBits(reference.Floats, found.Floats, path);
    }
}
