using System.Buffers.Binary;
using System.Runtime.InteropServices;
using System.Runtime.Intrinsics.X86;
using Iced.Intel;
using static Fude.Tensors.Wording;
using static Iced.Intel.AssemblerRegisters;

namespace Fude.Tensors;

/// <summary>A tile of one to twelve rows of x with two unpacked groups of weights, in AMX and AVX-512: what <see cref="GroupProduct"/> does
/// with <see cref="Unpacked{TNumbers}"/>, to the bit.</summary>
/// <remarks>
/// A block of a panel is eight quads by sixteen rows by four bytes, which is just what TDPBSSD takes as its second factor; x's [rows][32]
/// bytes are the first. Both are signed: the panel is filled with level − offset, so products need no correction. A block is two products,
/// one a group, with the same x; where sixteen numbers share a scale it is four, of half the depth. Tiles begin at zero in every block,
/// since every block has a scale of its own, and go to memory, where AVX-512 reads, converts, scales and adds them, in the order of the
/// definition. What a tile stores must reach the first-level cache before it can be read: so the products of a block are read while those
/// of the next are made, from the other of two places.
/// <para>
/// Twelve rows by two groups are twenty-four float sums, which leaves eight registers for the rest; sixteen would have to keep theirs in
/// memory. By counting, on two ports for zmm instructions, a block of twelve rows takes 36 cycles (convert, multiply, add twenty-four
/// times), 48 with minima and 72 with two scales. The tiles' loads, products and stores fit beside that. VNNI takes 140 to 190.
/// </para>
/// <para>
/// It has not been measured: no processor with AMX was at hand. Tests interpret the assembled bytes. So it computes only where
/// <c>FUDE_ISA=amx</c> asks for it.
/// </para>
/// <para>
/// One configuration does for an item: tiles of twelve rows use registers 0 to 2, a last one with fewer rows 5 to 7, the weights 3 and 4.
/// They are a thread's own: when it is stopped, for another thread or for the garbage collector, the system keeps them as all registers.
/// </para>
/// </remarks>
internal static unsafe partial class AmxTile
{
    public const int Rows = 12;

    /// <summary>Of the products' two places.</summary>
    public const int ProductBytes = 2 * PlaceBytes;

    /// <summary>What <see cref="Describe"/> fills.</summary>
    public const int ConfigurationBytes = 64;

    private const int Groups = 2, TileBytes = Rows * GroupLayout.VectorBytes, PlaceBytes = 2 * Groups * TileBytes;

    // Tests put other code in their places where there is no AMX.
    internal static readonly nint[] Plain = new nint[Rows + 1], Minimum = new nint[Rows + 1], TwoScales = new nint[Rows + 1];
    internal static nint Opening, Closing;

    private static readonly Lazy<(string English, string Japanese)?> Found = new(FindRefusal);
    private static readonly Lock Making = new();

    /// <summary>Why it cannot be used here, or null where it can. The system is asked for its permission once.</summary>
    public static string? Refusal => Found.Value is { } why ? Say(why.English, why.Japanese) : null;

    /// <summary>The routine for a number of rows, between <see cref="Open"/> and <see cref="Close"/>.</summary>
    /// <returns>void(byte* panel, byte* x, float* sums, long runs): the two groups' runs lie <see cref="GroupProduct.PanelApart"/> apart,
    /// <see cref="ProductBytes"/> to write in at <see cref="GroupProduct.ProductsApart"/>; sums are [rows][2][16].</returns>
    public static nint Of(int rows, bool hasMinimum, bool hasTwoScales)
    {
        nint[] made = hasTwoScales ? TwoScales : hasMinimum ? Minimum : Plain;
        nint routine = Volatile.Read(ref made[rows]);
        return routine != 0 ? routine : Make(made, rows, hasMinimum, hasTwoScales);
    }

    /// <summary>Configures this thread's tile registers.</summary>
    /// <param name="last">Rows of the tile that has fewer than twelve, or 0.</param>
    /// <param name="hasTwoScales">Whether sixteen numbers share a scale.</param>
    public static void Open(int last, bool hasTwoScales)
    {
        byte* configuration = stackalloc byte[ConfigurationBytes];
        Describe(new Span<byte>(configuration, ConfigurationBytes), last, hasTwoScales);
        OpenAs(configuration);
    }

    /// <summary>Configures them as is said.</summary>
    public static void OpenAs(byte* configuration)
    {
        nint routine = Volatile.Read(ref Opening);
        if (routine == 0)
        {
            _ = MakeOnce(ref Closing, WriteClosing);      // what is opened can be closed
            routine = MakeOnce(ref Opening, WriteOpening);
        }
        ((delegate* unmanaged[SuppressGCTransition]<byte*, void>)routine)(configuration);
    }

    /// <summary>Gives the tile registers up.</summary>
    public static void Close() => ((delegate* unmanaged[SuppressGCTransition]<void>)Volatile.Read(ref Closing))();

    /// <summary>The configuration that <see cref="Open"/> loads.</summary>
    internal static void Describe(Span<byte> configuration, int last, bool hasTwoScales)
    {
        int depth = hasTwoScales ? GroupLayout.Run / 2 : GroupLayout.Run;
        configuration.Clear();
        configuration[0] = 1;       // the palette of eight tiles of up to sixteen rows of 64 bytes
        foreach (int weights in (ReadOnlySpan<int>)[3, 4]) Tile(configuration, weights, depth / 4, GroupLayout.VectorBytes);
        foreach ((int first, int rows) in (ReadOnlySpan<(int, int)>)[(0, Rows), (5, last)])
        {
            if (rows == 0) continue;
            Tile(configuration, first, rows, GroupLayout.VectorBytes);
            Tile(configuration, first + 1, rows, GroupLayout.VectorBytes);
            Tile(configuration, first + 2, rows, depth);
        }

        static void Tile(Span<byte> configuration, int number, int rows, int bytes)
        {
            BinaryPrimitives.WriteUInt16LittleEndian(configuration[(16 + (2 * number))..], (ushort)bytes);
            configuration[48 + number] = (byte)rows;
        }
    }

    internal static void WriteOpening(Assembler code) => code.ldtilecfg(__zmmword_ptr[MachineCode.Arguments[0]]);

    internal static void WriteClosing(Assembler code) => code.tilerelease();

    internal static void Write(Assembler code, int rows, bool hasMinimum, bool hasTwoScales)
    {
        const int Apart = GroupProduct.PanelApart;
        (AssemblerRegister64 panel, AssemblerRegister64 x) = (MachineCode.Arguments[0], MachineCode.Arguments[1]);
        (AssemblerRegister64 sums, AssemblerRegister64 runs) = (MachineCode.Arguments[2], MachineCode.Arguments[3]);
        (AssemblerRegister64 rowBytes, AssemblerRegister64 made, AssemblerRegister64 read) = (rax, r10, r11);
        AssemblerRegisterTMM[] products = rows == Rows ? [tmm0, tmm1] : [tmm5, tmm6], weights = [tmm3, tmm4];
        AssemblerRegisterTMM rowsOfX = rows == Rows ? tmm2 : tmm7;
        AssemblerRegisterZMM scale = zmm24, otherScale = zmm25, scaleOfX = zmm26;
        int halves = hasTwoScales ? 2 : 1, blockBytes = rows * QuantizedRows.BlockBytes, depth = QuantizedRows.Length / halves;
        Label next = code.CreateLabel(), last = code.CreateLabel();

        code.mov(eax, QuantizedRows.Length);        // from row to row of x, and twice that of weights and products
        code.lea(made, __[panel + GroupProduct.ProductsApart]);
        code.lea(read, __[made + PlaceBytes]);
        for (int i = 0; i < rows * Groups; i++) code.vmovups(Sum(i), __zmmword_ptr[sums + (i * 64)]);
        MultiplyBlock();
        Advance();
        code.jz(last);
        code.Label(ref next);
        MultiplyBlock();
        AddBlockBefore();
        Advance();
        code.jnz(next);
        code.Label(ref last);
        AddBlockBefore();
        for (int i = 0; i < rows * Groups; i++) code.vmovups(__zmmword_ptr[sums + (i * 64)], Sum(i));

        static AssemblerRegisterZMM Sum(int number) => new(Register.ZMM0 + number);

        static int Product(int half, int group) => ((half * Groups) + group) * TileBytes;

        void MultiplyBlock()
        {
            for (int half = 0; half < halves; half++)
            {
                code.tileloadd(rowsOfX, __[x + (rowBytes * 1) + (half * depth)]);
                for (int group = 0; group < Groups; group++)
                {
                    code.tileloadd(weights[group], __[panel + (rowBytes * 2) + ((group * Apart) + (half * depth * GroupLayout.Rows))]);
                    code.tilezero(products[group]);
                    code.tdpbssd(products[group], rowsOfX, weights[group]);
                }
                for (int group = 0; group < Groups; group++)
                    code.tilestored(__[made + (rowBytes * 2) + Product(half, group)], products[group]);
            }
        }

        // Its products now lie where they are read; the other place is free.
        void Advance()
        {
            code.add(panel, Unpacked<GroupQ8Zero>.Bytes);
            code.add(x, blockBytes);
            code.xchg(made, read);
            code.dec(runs);
        }

        void AddBlockBefore()
        {
            int block = (rows * QuantizedRows.Length) - blockBytes, run = -Unpacked<GroupQ8Zero>.Bytes;
            for (int half = 0; half < halves; half++)
            {
                LoadBoth(run + 512 + (half * 64));
                for (int row = 0; row < rows; row++)
                {
                    code.vbroadcastss(scaleOfX, __dword_ptr[x + (block + (row * 16))]);
                    for (int group = 0; group < Groups; group++)
                    {
                        (AssemblerRegisterZMM ints, AssemblerRegisterZMM factor) = group == 0 ? (zmm27, zmm28) : (zmm29, zmm30);
                        code.vcvtdq2ps(ints, __zmmword_ptr[read + (Product(half, group) + (row * 64))]);
                        code.vmulps(factor, group == 0 ? scale : otherScale, scaleOfX);
                        code.vfmadd231ps(Sum((row * Groups) + group), ints, factor);
                    }
                }
            }
            if (!hasMinimum) return;
            LoadBoth(run + 576);
            for (int row = 0; row < rows; row++)
            {
                code.vbroadcastss(scaleOfX, __dword_ptr[x + (block + (row * 16) + 4)]);     // scale · sum
                code.vfmadd231ps(Sum(row * Groups), scale, scaleOfX);
                code.vfmadd231ps(Sum((row * Groups) + 1), otherScale, scaleOfX);
            }
        }

        void LoadBoth(int at)
        {
            code.vmovups(scale, __zmmword_ptr[panel + at]);
            code.vmovups(otherScale, __zmmword_ptr[panel + (at + Apart)]);
        }
    }

    // On their own: what a lambda captures is allocated where its method begins.
    private static nint Make(nint[] made, int rows, bool hasMinimum, bool hasTwoScales) =>
        MakeOnce(ref made[rows], code => Write(code, rows, hasMinimum, hasTwoScales));

    private static nint MakeOnce(ref nint made, Action<Assembler> write)
    {
        lock (Making)
        {
            if (made == 0) Volatile.Write(ref made, MachineCode.MakeAnother(write));
            return made;
        }
    }

    private static (string English, string Japanese)? FindRefusal()
    {
        const int Tile = 1 << 24, Int8 = 1 << 25;
        if (RuntimeInformation.ProcessArchitecture != Architecture.X64 || !Avx512F.IsSupported || X86Base.CpuId(0, 0).Eax < 7
            || (X86Base.CpuId(7, 0).Edx & (Tile | Int8)) != (Tile | Int8))
            return ("this processor lacks it", "このプロセッサーにはありません");
        if (!VnniTile.IsSupported) return ("the system allows fude no machine code of its own", "fude が機械語を実行することをシステムが許していません");
        const ulong Configuration = 1 << 17, Data = 1 << 18;
        if ((EnabledStates() & (Configuration | Data)) != (Configuration | Data))
            return ("the system does not switch the tile registers on", "システムがタイルレジスターを有効にしていません");
        if (OperatingSystem.IsWindows()) return WindowsRefusal(Data);
        // x86-64's arch_prctl, and what asm/prctl.h calls ARCH_REQ_XCOMP_PERM: Linux wants to be asked for state of 8 KB a thread.
        const long ArchPrctl = 158, RequestPermission = 0x1023, TileData = 18, NoSpace = 28;
        if (SystemCall(ArchPrctl, RequestPermission, TileData) == 0) return null;
        int error = Marshal.GetLastPInvokeError();
        string message = Marshal.GetPInvokeErrorMessage(error);
        return error == NoSpace
            ? ("the system does not allow it, for the alternate signal stack of some thread has no room for the tile registers",
                "システムが許可しません。代替シグナルスタックにタイルレジスターの入らないスレッドがあります")
            : ($"the system does not allow it (arch_prctl: {message})", $"システムが許可しません（arch_prctl: {message}）");
    }

    // From Windows 11 and Server 2022 on; where the function is missing, the registers are not kept for a thread.
    private static (string English, string Japanese)? WindowsRefusal(ulong states)
    {
        (string, string) notKept = (
            "this version of Windows does not give the tile registers to programs",
            "この Windows はタイルレジスターをプログラムに使わせません");
        try
        {
            return EnableOptionalStates(states) != 0 ? null : notKept;
        }
        catch (EntryPointNotFoundException)
        {
            return notKept;
        }
    }

    /// <summary>The states that the system keeps for a thread: XCR0.</summary>
    private static ulong EnabledStates()
    {
        nint routine = MachineCode.MakeAnother(code =>
        {
            code.xor(ecx, ecx);
            code.xgetbv();
            code.shl(rdx, 32);
            code.or(rax, rdx);
        });
        return ((delegate* unmanaged[SuppressGCTransition]<ulong>)routine)();
    }

    [LibraryImport("kernel32", EntryPoint = "EnableProcessOptionalXStateFeatures")]
    [DefaultDllImportSearchPaths(DllImportSearchPath.System32)]
    private static partial int EnableOptionalStates(ulong states);

    [LibraryImport("libc", EntryPoint = "syscall", SetLastError = true)]
    [DefaultDllImportSearchPaths(DllImportSearchPath.SafeDirectories)]
    private static partial long SystemCall(long number, long code, long feature);
}
