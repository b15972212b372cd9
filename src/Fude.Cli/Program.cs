using Fude.Cli;

Language.Choose(Environment.GetEnvironmentVariable);
return await new FudeProgram(Terminal.Open()).RunAsync(args).ConfigureAwait(false);
