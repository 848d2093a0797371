"""Trains, evaluates and uses the two stages.

python run.py --config=configs/stage1.py
python run.py --config=configs/stage2.py
python run.py --config=configs/stage2.py --mode=evaluate --split=valid
python run.py --config=configs/stage2.py --config.train.batch_size=64 --workdir=runs/mine
python run.py --config=configs/stage2.py --mode=predict --input=clip.mp4 --pages
python run.py --config=configs/stage2.py --mode=serve
python run.py --config=configs/crossval.py
python run.py --config=configs/sweep.py
python run.py --config=configs/ablation.py
python run.py --config=configs/heads.py
python run.py --config=configs/robustness.py
"""

from emi_jax.memory import restart_with_tuned_malloc

if __name__ == "__main__":
    restart_with_tuned_malloc()

    from configs.commands.program import execute  # slow to import

    execute(str(__doc__))
